//! A line for a person while a target takes nothing, so that a wait is not taken for a
//! hang.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use flowmeter_engine::{Error, Kind};

use super::sending::PATIENCE;

/// Called with a line for a person.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a target may be silent before that is said, and said again.
const SILENCE: Duration = Duration::from_secs(5);

/// The thread that reports while a window waits for its target. Ends when this is dropped.
pub(super) struct Waiting {
    answer: Arc<Mutex<String>>,
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    /// From now on. `address` says where the target is.
    pub(super) fn begin(name: &str, address: String, tell: Tell) -> Result<Waiting, Error> {
        Waiting::every(SILENCE, name, address, tell)
    }

    pub(super) fn every(pause: Duration, name: &str, address: String, tell: Tell) -> Result<Waiting, Error> {
        let answer = Arc::new(Mutex::new(String::new()));
        let (ends, ended) = channel();
        let (name, heard) = (name.to_owned(), Arc::clone(&answer));
        let speak = move || {
            let mut silent = pause;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let answer = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tell(&line(&name, &address, silent, &answer));
                silent += pause;
            }
        };
        let thread = Builder::new().name("waiting".to_owned()).spawn(speak);
        let thread = thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        Ok(Waiting { answer, ends: Some(ends), thread: Some(thread) })
    }

    /// The target's latest answer.
    pub(super) fn heard(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.ends.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn line(name: &str, address: &str, silent: Duration, answer: &str) -> String {
    let from = if address.is_empty() { String::new() } else { format!(" from {address}") };
    let (silent, patience) = (silent.as_secs(), PATIENCE / 1_000_000_000);
    let said = if answer.is_empty() { String::new() } else { format!(": {answer}") };
    format!("target `{name}`: no answer{from} for {silent} s, trying for up to {patience} s{said}")
}
