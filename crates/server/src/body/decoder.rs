//! Decodes frames into one vector that never exceeds its bound.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use flowmeter_node::settings::Limits;
use flowmeter_node::settings::limits::RATIO_FREE_BYTES;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::Encoding;
use crate::problem::{Code, Problem};

/// The largest window that a zstd body may request, as a power of two: 8 MiB, which RFC 9659 sets
/// for the content coding. The library alone would allow 128 MiB for each request.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Room after a body: readers of JSON write zeros there and need no copy.
const ROOM_BEHIND: usize = 64;

/// The longest header of a zstd frame.
const ZSTD_HEAD_BYTES: usize = 18;

/// Room that is allocated for decompressed bytes at a time: the amount that the libraries write in
/// one step.
const STEP_BYTES: usize = 64 << 10;

pub(super) enum Decoder {
    Identity(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Bounded>>),
    Zstd { decoder: Box<ZstdDecoder<'static>>, out: Bounded, is_complete: bool, head: Vec<u8> },
}

impl Decoder {
    pub(super) fn new(encoding: Encoding, expected: u64, limits: &Limits) -> Result<Decoder, Box<Problem>> {
        let expected = usize::try_from(expected).unwrap_or(0);
        let out = Bounded {
            bytes: Vec::new(),
            bytes_max: limits.decompressed_bytes_max,
            ratio_max: limits.decompressed_ratio_max,
            received: 0,
            excess: None,
        };
        match encoding {
            Encoding::Identity => Ok(Decoder::Identity(Vec::with_capacity(expected + ROOM_BEHIND))),
            Encoding::Gzip => Ok(Decoder::Gzip(Box::new(MultiGzDecoder::new(out)))),
            Encoding::Zstd => {
                let decoder = ZstdDecoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                    Ok(Decoder::Zstd { decoder: Box::new(decoder), out, is_complete: false, head: Vec::new() })
                });
                decoder.map_err(|why| Box::new(Problem::new(Code::Internal, format!("zstd: {why}"))))
            }
        }
    }

    /// Reserves room for `more` bytes, unless they have to be decompressed first.
    pub(super) fn expect(&mut self, more: u64) {
        if let Decoder::Identity(bytes) = self {
            bytes.reserve_exact(usize::try_from(more).unwrap_or(0) + ROOM_BEHIND);
        }
    }

    /// Takes a frame. `received` is the number of bytes so far, including this frame.
    pub(super) fn take(&mut self, frame: &[u8], received: u64) -> Result<(), Box<Problem>> {
        match self {
            Decoder::Identity(bytes) => {
                bytes.extend_from_slice(frame);
                Ok(())
            }
            Decoder::Gzip(decoder) => {
                decoder.get_mut().received = received;
                decoder.write_all(frame).map_err(|why| problem("gzip", decoder.get_ref().excess, &why))
            }
            Decoder::Zstd { decoder, out, is_complete, head } => {
                out.received = received;
                head.extend(frame.iter().take(ZSTD_HEAD_BYTES - head.len()));
                let done = decompress(decoder, frame, out);
                *is_complete = done.map_err(|why| problem("zstd", out.excess, &why))?;
                Ok(())
            }
        }
    }

    /// Returns the whole body.
    pub(super) fn finish(self) -> Result<Vec<u8>, Box<Problem>> {
        match self {
            Decoder::Identity(bytes) => Ok(bytes),
            Decoder::Gzip(mut decoder) => {
                decoder.try_finish().map_err(|why| problem("gzip", decoder.get_ref().excess, &why))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
            Decoder::Zstd { is_complete: false, .. } => Err(problem("zstd", None, &io::ErrorKind::UnexpectedEof.into())),
            // The library does not compare an empty last block with the size that the frame declares.
            Decoder::Zstd { out, head, .. } if (out.bytes.len() as u64) < declared(&head) => {
                Err(problem("zstd", None, &io::ErrorKind::UnexpectedEof.into()))
            }
            Decoder::Zstd { out, .. } => Ok(out.bytes),
        }
    }
}

/// Returns the bytes that the first frame of zstd declares; 0 if it declares none.
fn declared(head: &[u8]) -> u64 {
    zstd::zstd_safe::get_frame_content_size(head).ok().flatten().unwrap_or(0)
}

/// Decompresses a frame of the body straight into the vector. Returns whether a frame of zstd ended
/// with it.
fn decompress(decoder: &mut ZstdDecoder<'static>, frame: &[u8], out: &mut Bounded) -> io::Result<bool> {
    let mut input = InBuffer::around(frame);
    loop {
        out.bytes.reserve(STEP_BYTES);
        let (at, room) = (out.bytes.len(), out.bytes.capacity());
        let hint = decoder.run(&mut input, &mut OutBuffer::around_pos(&mut out.bytes, at))?;
        out.check(0)?;
        let is_drained = hint == 0 || out.bytes.len() < room;
        if is_drained && input.pos() == frame.len() {
            return Ok(hint == 0);
        }
    }
}

/// The bound that was exceeded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Excess {
    Bytes(u64),
    Ratio(u64),
}

/// Decompressed bytes with a bound.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    bytes_max: u64,
    ratio_max: u64,
    /// Compressed bytes from which they were decompressed.
    received: u64,
    excess: Option<Excess>,
}

impl Bounded {
    fn check(&mut self, more: usize) -> io::Result<()> {
        let size = (self.bytes.len() + more) as u64;
        if size > self.bytes_max {
            self.excess = Some(Excess::Bytes(self.bytes_max));
        } else if size > RATIO_FREE_BYTES && size > self.received.saturating_mul(self.ratio_max) {
            self.excess = Some(Excess::Ratio(self.ratio_max));
        }
        if self.excess.is_some() { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn problem(encoding: &str, excess: Option<Excess>, why: &io::Error) -> Box<Problem> {
    Box::new(match excess {
        Some(Excess::Bytes(max)) => {
            let detail = format!("the body decompresses to more than {max} bytes (limits.decompressed_bytes_max)");
            Problem::new(Code::TooLarge, detail).extra("bytesMax", max)
        }
        Some(Excess::Ratio(max)) => {
            let detail = format!("the body decompresses to more than {max} times its size (limits.decompressed_ratio_max)");
            Problem::new(Code::TooLarge, detail).extra("ratioMax", max)
        }
        None if why.kind() == io::ErrorKind::UnexpectedEof => {
            Problem::new(Code::BadEncoding, format!("the {encoding} body ends too early")).field("Content-Encoding")
        }
        None => Problem::new(Code::BadEncoding, format!("the body is not {encoding}: {why}")).field("Content-Encoding"),
    })
}
