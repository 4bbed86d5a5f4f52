//! Reads the body of a request into memory, decompressed and bounded.
//!
//! Frames are processed as they arrive. Compressed frames are decompressed at once, so the
//! compressed bytes are never stored and a decompression bomb is detected at its first megabyte. An
//! uncompressed body is copied once, from the frames into one vector. A sender that stops in the
//! middle is disconnected after a timeout.
//!
//! The content is not checked here: the caller detects invalid UTF-8, invalid JSON or too many
//! events.

mod decoder;
#[cfg(test)]
mod tests;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use decoder::Decoder;
use flowmeter_node::settings::Limits;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::problem::{Code, Problem};

/// Memory allocated because of Content-Length. More is allocated when this much has arrived, since
/// a promise alone must not cost memory.
const PROMISED_BYTES_MAX: u64 = 1 << 20;

/// Reads a body to its end. `headers` are those of its request.
///
/// # Errors
/// `too_large` (as sent, decompressed, or by ratio), `bad_encoding`,
/// `unsupported_encoding`, `timeout`, and `invalid` where the connection broke off.
pub async fn read(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Vec<u8>, Box<Problem>> {
    let whole = tokio::time::timeout(limits.body_timeout, collect(headers, body, limits)).await;
    whole.unwrap_or_else(|_| {
        let detail = format!("the body took more than {} s (limits.body_timeout)", limits.body_timeout.as_secs());
        Err(Box::new(Problem::new(Code::Timeout, detail)))
    })
}

async fn collect(headers: &HeaderMap, mut body: Body, limits: &Limits) -> Result<Vec<u8>, Box<Problem>> {
    let promised = body.size_hint().exact();
    if promised.is_some_and(|bytes| bytes > limits.body_bytes_max) {
        return Err(too_large(limits));
    }
    let mut decoder = Decoder::new(encoding(headers)?, promised.unwrap_or(0).min(PROMISED_BYTES_MAX), limits)?;
    let mut received = 0u64;
    while let Some(frame) = next(&mut body, limits).await? {
        let before = received;
        received += frame.len() as u64;
        if received > limits.body_bytes_max {
            return Err(too_large(limits));
        }
        if before < PROMISED_BYTES_MAX && received >= PROMISED_BYTES_MAX {
            decoder.expect(promised.unwrap_or(0).saturating_sub(before));
        }
        decoder.take(&frame, received)?;
    }
    decoder.finish()
}

/// The compression of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Box<Problem>> {
    let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
    let (first, more) = (named.next(), named.next());
    let text = first.map_or(Ok(""), |value| value.to_str()).unwrap_or("?").trim().to_ascii_lowercase();
    match text.as_str() {
        _ if more.is_some() => {}
        "" | "identity" => return Ok(Encoding::Identity),
        "gzip" | "x-gzip" => return Ok(Encoding::Gzip),
        "zstd" => return Ok(Encoding::Zstd),
        _ => {}
    }
    let shown: String = text.chars().take(60).collect();
    let detail = format!("Content-Encoding `{shown}`{}: gzip or zstd, once", if more.is_some() { " and more" } else { "" });
    Err(Box::new(Problem::new(Code::UnsupportedEncoding, detail).field("Content-Encoding")))
}

/// Returns the next frame that has bytes.
async fn next(body: &mut Body, limits: &Limits) -> Result<Option<Bytes>, Box<Problem>> {
    loop {
        let Ok(frame) = tokio::time::timeout(limits.body_idle, body.frame()).await else {
            let detail = format!("nothing of the body came for {} s (limits.body_idle)", limits.body_idle.as_secs());
            return Err(Box::new(Problem::new(Code::Timeout, detail)));
        };
        match frame {
            None => return Ok(None),
            Some(Err(why)) => {
                let detail = format!("the body ended early: {why}");
                return Err(Box::new(Problem::new(Code::Invalid, detail).remedy("Send it again, whole.")));
            }
            // Trailers are not used.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                _ => {}
            },
        }
    }
}

fn too_large(limits: &Limits) -> Box<Problem> {
    let detail = format!("the body has more than {} bytes (limits.body_bytes_max)", limits.body_bytes_max);
    Box::new(Problem::new(Code::TooLarge, detail).extra("bytesMax", limits.body_bytes_max))
}
