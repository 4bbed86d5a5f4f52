//! Responses from outside: the bound of their size and the deadline.
//!
//! A receiver, a token endpoint, a store, a collector or a server may send more than fits into
//! memory, by mistake or on purpose. So every response is read through this file, up to a bound
//! that its reader gives. Requests ask for no compression and nothing is decompressed: the counted
//! bytes are the bytes in memory. The head of a response has the bounds [`HEAD_BYTES_MAX`] and
//! [`HEADERS_MAX`]. The deadline belongs to the request and covers its whole response.

use std::fmt::Display;
use std::io::{self, Read};

use bytes::Buf;
use http_body_util::BodyExt;

/// Bytes of a response that reports the result of a request: an error, a token, an id. Those of
/// billers have some kilobytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of a response that holds a record: one with a hundred thousand groups has about ten
/// million.
pub const RECORD_BYTES_MAX: usize = 32 << 20;
/// Bytes of an object or a file that is read back. Each holds one window of records, at
/// most some ten megabytes of JSON; CSV and Parquet take less.
pub const OBJECT_BYTES_MAX: usize = 256 << 20;
/// Bytes of the head of a response, a usual bound of servers and proxies.
pub const HEAD_BYTES_MAX: u32 = 64 << 10;
/// Header fields of a response.
pub const HEADERS_MAX: usize = 100;

/// The body of a response, up to its bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The bytes that were read, never more than the bound.
    pub bytes: Vec<u8>,
    /// The reason why reading ended.
    pub end: End,
}

/// The reason why reading a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The body was complete.
    Whole,
    /// The bound was reached; there is more.
    TooLong(usize),
    /// The connection broke, or the time was over.
    Broken(String),
}

impl Body {
    /// Returns the text that was read.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Returns the whole body.
    ///
    /// # Errors
    /// It is longer than its bound, which is named, or the connection broke.
    pub fn whole(self) -> Result<Vec<u8>, String> {
        match self.end {
            End::Whole => Ok(self.bytes),
            End::TooLong(bytes_max) => Err(too_long(bytes_max)),
            End::Broken(why) => Err(format!("the answer broke off: {why}")),
        }
    }
}

fn too_long(bytes_max: usize) -> String {
    format!("the answer has more than {bytes_max} bytes, which is the bound; the rest was not read")
}

/// Reads a body up to a bound. The rest is not read: dropping the body closes the
/// connection.
pub async fn read<B>(body: B, bytes_max: usize) -> Body
where
    B: http_body::Body<Error: Display>,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    loop {
        let data = match body.frame().await {
            None => return Body { bytes, end: End::Whole },
            Some(Err(why)) => return Body { bytes, end: End::Broken(why.to_string()) },
            // Trailers are not used.
            Some(Ok(frame)) => frame.into_data(),
        };
        let Ok(data) = data else { continue };
        let room = bytes_max - bytes.len();
        let is_too_long = data.remaining() > room;
        io::Read::read_to_end(&mut data.take(room).reader(), &mut bytes).unwrap_or_default();
        if is_too_long {
            return Body { bytes, end: End::TooLong(bytes_max) };
        }
    }
}

/// Reads a response over a blocking connection to its end.
///
/// # Errors
/// It is longer than the bound, which is named, or the connection broke.
pub fn read_blocking(answer: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    answer.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > bytes_max {
        true => Err(io::Error::other(too_long(bytes_max))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use http_body_util::{Full, StreamBody};

    fn now<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn a_body_is_read_up_to_its_bound_and_no_further() {
        for (length, bytes_max, expected) in [(3, 4, Ok(3)), (4, 4, Ok(4)), (5, 4, Err(4)), (0, 0, Ok(0)), (1, 0, Err(0))] {
            let text = vec![b'x'; length];
            let body = now(read(Full::new(bytes::Bytes::from(text.clone())), bytes_max));
            let blocking = read_blocking(&*text, bytes_max);
            match expected {
                Ok(whole) => {
                    assert_eq!((body.bytes.len(), &body.end), (whole, &End::Whole));
                    assert_eq!(blocking.unwrap().len(), whole);
                }
                Err(read) => {
                    assert_eq!((body.bytes.len(), &body.end), (read, &End::TooLong(bytes_max)));
                    let told = body.whole().unwrap_err();
                    assert!(told.contains(&format!("more than {bytes_max} bytes")), "{told}");
                    assert_eq!(blocking.unwrap_err().to_string(), told);
                }
            }
        }
    }

    #[test]
    fn an_endless_body_ends_at_the_bound() {
        let frame = || Ok::<_, Infallible>(http_body::Frame::data(bytes::Bytes::from_static(&[0; 1000])));
        let body = now(read(StreamBody::new(futures_util::stream::repeat_with(frame)), 10_500));
        assert_eq!((body.bytes.len(), body.end), (10_500, End::TooLong(10_500)));
    }
}
