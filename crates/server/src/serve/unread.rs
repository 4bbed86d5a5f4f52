//! Answers that the caller does not read.
//!
//! A caller that stops reading holds buffers and a connection. Two places notice it:
//!
//! - [`Impatient`], around the stream of bytes: a write that makes no progress for
//!   `limits.write_idle` fails, which ends the connection. This covers HTTP/1 whole.
//! - [`Answers`], for HTTP/2: there a caller may leave one answer unread while the
//!   connection stays busy (it answers pings, or reads other answers). Each answer counts its
//!   steps: a piece taken from its body, and a piece written. An answer that has something
//!   to write and makes no step in `limits.write_idle` ends the connection.
//!
//! An answer that waits for the server (a stream without news) is not unread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Sleep;

/// Bytes of a piece of an answer: a caller that reads as much in `limits.write_idle` makes
/// progress. HTTP/2 opens its window by as much to begin with.
const PIECE_BYTES: usize = 64 << 10;

/// A stream of bytes whose writes may not wait for ever.
pub(super) struct Impatient<I> {
    io: I,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    unread: Arc<AtomicU64>,
}

impl<I> Impatient<I> {
    /// `unread` counts the streams that end by this.
    pub(super) fn new(io: I, patience: Duration, unread: Arc<AtomicU64>) -> Impatient<I> {
        Impatient { io, patience, waiting: None, unread }
    }

    fn bounded<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match waiting.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                count(&self.unread, patience);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

/// Counts and logs a connection that ends because its answers are not read.
pub(super) fn count(unread: &AtomicU64, patience: Duration) {
    let seconds = patience.as_secs();
    let total = unread.fetch_add(1, Ordering::Relaxed) + 1;
    tracing::info!(total, "closed a connection whose answer was not read for {seconds} s (limits.write_idle)");
}

impl<I: Read + Unpin> Read for Impatient<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: Write + Unpin> Write for Impatient<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.bounded(outcome, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bounded(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.bounded(outcome, cx)
    }
}

/// The answers of a connection that are not written whole yet.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<Vec<Seen>>>);

/// An answer, and the steps it had made when it was last looked at.
struct Seen {
    progress: Weak<Progress>,
    steps: u64,
}

/// How far an answer is.
#[derive(Default)]
struct Progress {
    steps: AtomicU64,
    /// Pieces that were taken and are not written.
    pieces: AtomicU64,
    /// Whether its body had nothing to take when it was last asked.
    is_quiet: AtomicBool,
}

impl Progress {
    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn waits_for_us(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed) && self.pieces.load(Ordering::Relaxed) == 0
    }
}

impl Answers {
    /// The body of an answer, watched. A body without bytes needs no watching.
    pub(super) fn watch(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let progress = Arc::new(Progress::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Seen { progress: Arc::downgrade(&progress), steps: u64::MAX });
        Body::new(Watched { body, rest: Bytes::new(), progress })
    }

    /// Whether an answer made no step since this was last asked.
    pub(super) fn are_unread(&self) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_unread = false;
        all.retain_mut(|seen| {
            let Some(progress) = seen.progress.upgrade() else { return false };
            let steps = progress.steps.load(Ordering::Relaxed);
            is_unread |= steps == seen.steps && !progress.waits_for_us();
            seen.steps = steps;
            true
        });
        is_unread
    }
}

/// A body in pieces, each of which counts a step once it is written.
struct Watched {
    body: Body,
    rest: Bytes,
    progress: Arc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.body).poll_frame(cx);
            self.progress.is_quiet.store(polled.is_pending(), Ordering::Relaxed);
            let Poll::Ready(frame) = polled else { return Poll::Pending };
            self.progress.step();
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = Piece::new(self.rest.split_to(length), &self.progress);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

/// Bytes that are on their way until this is dropped.
struct Piece {
    bytes: Bytes,
    progress: Arc<Progress>,
}

impl Piece {
    fn new(bytes: Bytes, progress: &Arc<Progress>) -> Piece {
        progress.step();
        progress.pieces.fetch_add(1, Ordering::Relaxed);
        Piece { bytes, progress: Arc::clone(progress) }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.progress.step();
        self.progress.pieces.fetch_sub(1, Ordering::Relaxed);
    }
}
