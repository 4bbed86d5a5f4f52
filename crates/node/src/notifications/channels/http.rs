//! One POST: to an allowed address, over TLS, without following redirects, with a timeout, reading
//! a bounded part of the response.

use flowmeter_connectors::answer::{self, End, HEAD_BYTES_MAX, HEADERS_MAX};
use flowmeter_connectors::retry_after::retry_after;
use flowmeter_core::time::Timestamp;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::notifications::channels::pool::{Pool, Speaker};
use crate::notifications::channels::{Outside, Sent, TIMEOUT, address};

/// Bytes of a response that are read and stored: enough for an error message of the receiver.
const ANSWER_BYTES: usize = 2 << 10;

/// The request to send.
pub(crate) struct Post {
    /// The address, which may contain a secret.
    pub(crate) url: String,
    /// The address as it is shown.
    pub(crate) shown: String,
    /// Headers; they are shown, so they contain no secrets.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Body of the request.
    pub(crate) body: Vec<u8>,
    /// The present time, for dates in responses.
    pub(crate) at: Timestamp,
}

/// Checks whether an address can be used, as far as possible without a request.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "not an address; write https://HOST/PATH".to_owned())?;
    let authority = uri.authority().ok_or("not an address; write https://HOST/PATH")?;
    match uri.scheme_str() {
        Some("https" | "http") if !authority.as_str().contains('@') => Ok(()),
        Some("https" | "http") => Err("no password in an address: it would be shown with it".to_owned()),
        _ => Err("write https://HOST/PATH".to_owned()),
    }
}

/// Sends the request and returns the result.
pub(crate) async fn post(post: Post, outside: &Outside) -> Sent {
    let headers: Map<String, Value> = post.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let body = String::from_utf8_lossy(&post.body);
    let request = json!({"method": "POST", "url": post.shown, "headers": headers, "body": body});
    match tokio::time::timeout(TIMEOUT, exchange(&post, outside)).await {
        Err(_) => Sent::failed(request, format!("no answer within {} s", TIMEOUT.as_secs())),
        Ok(Err(why)) => Sent::failed(request, why),
        Ok(Ok((status, headers, text))) => Sent {
            accepted: (200..300).contains(&status),
            request,
            answer: json!({"status": status, "body": text}),
            retry_after: headers.get(header::RETRY_AFTER).and_then(|text| retry_after(text.to_str().ok()?, post.at)),
        },
    }
}

/// The response: status, headers, the beginning of the body.
type Answered = (u16, HeaderMap, String);

async fn exchange(post: &Post, outside: &Outside) -> Result<Answered, String> {
    check_url(&post.url)?;
    let uri: Uri = post.url.parse().map_err(|_| "not an address".to_owned())?;
    let host = uri.host().ok_or("an address without a host")?;
    let is_tls = uri.scheme_str() == Some("https");
    if !is_tls && !outside.allow_private() {
        return Err("without TLS only where notifications.allow_private is set; use https://".to_owned());
    }
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let place = format!("{}://{authority}", if is_tls { "https" } else { "http" });
    if let Some(speaker) = outside.pool.take(&place, post.at).await
        && let Ok(answered) = speak(speaker, request(post, &uri, authority)?, &place, post.at, &outside.pool).await
    {
        return Ok(answered);
    }
    // There is no connection, or it broke during the request. The repetition is the same attempt,
    // with the id by which the receiver deduplicates.
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let addresses = address::resolve(host, port, outside.allow_private()).await?;
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|why| format!("connecting to {host}: {why}"))?;
    let speaker = if is_tls {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|why| why.to_string())?;
        let stream = TlsConnector::from(std::sync::Arc::clone(&outside.tls)).connect(name, stream).await;
        shake_hands(TokioIo::new(stream.map_err(|why| format!("TLS with {host}: {why}"))?)).await?
    } else {
        shake_hands(TokioIo::new(stream)).await?
    };
    speak(speaker, request(post, &uri, authority)?, &place, post.at, &outside.pool).await
}

fn request(post: &Post, uri: &Uri, authority: &str) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("flowmeter/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*");
    for (name, value) in &post.headers {
        request = request.header(*name, value);
    }
    request.body(Full::new(Bytes::from(post.body.clone()))).map_err(|why| why.to_string())
}

fn said(why: &hyper::Error) -> String {
    format!("HTTP: {why}")
}

async fn shake_hands(io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) -> Result<Speaker, String> {
    let mut http = hyper::client::conn::http1::Builder::new();
    http.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX as usize);
    let (speaker, connection) = http.handshake(io).await.map_err(|why| said(&why))?;
    // The task ends when the sender is dropped.
    tokio::spawn(connection);
    Ok(speaker)
}

/// Sends a request and keeps the connection if the exchange was complete.
async fn speak(
    mut speaker: Speaker,
    request: Request<Full<Bytes>>,
    place: &str,
    at: Timestamp,
    pool: &Pool,
) -> Result<Answered, String> {
    let response = speaker.send_request(request).await.map_err(|why| said(&why))?;
    let (head, body) = response.into_parts();
    // A response that is too long or breaks off is valid all the same: its status decides.
    let body = answer::read(body, ANSWER_BYTES).await;
    if body.end == End::Whole {
        pool.keep(place, speaker, at);
    }
    Ok((head.status.as_u16(), head.headers, body.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["https://example.com", "https://example.com:8443/a?b=c", "http://[::1]:80/x"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["", "example.com", "ftp://example.com", "https://", "https://u:p@example.com", "file:///etc/passwd"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
