//! Answers that serve later requests, in memory and in a file of lines.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use flowmeter_core::mediation::{Asked, PastAnswer};
use flowmeter_core::operator::HttpAnswer;
use flowmeter_core::time::Timestamp;
use flowmeter_engine::{Error, Kind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Hash;

/// A line of the file: an answer, when it was asked for, and by whom.
#[derive(Serialize, Deserialize)]
struct Line {
    operator: String,
    request: String,
    at: i64,
    answer: Box<RawValue>,
}

/// An answer with the instant at which its event was received.
type Dated = (Timestamp, Vec<u8>);

/// The answers that were kept.
pub(super) struct Kept {
    answers: HashMap<(String, Hash), Vec<Dated>>,
    file: Option<PathBuf>,
    /// Lines that are not in the file yet.
    unwritten: Vec<u8>,
}

impl Kept {
    pub(super) fn open(file: Option<PathBuf>) -> Result<Kept, Error> {
        let mut kept = Kept { answers: HashMap::new(), file, unwritten: Vec::new() };
        let Some(file) = &kept.file else { return Ok(kept) };
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(kept),
            Err(why) => return Err(Error::io(file.display(), &why)),
        };
        // A torn last line was never used. It is cut off, so that the next line is whole.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            let cut = std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(whole as u64));
            cut.map_err(|why| Error::io(file.display(), &why))?;
        }
        let text = String::from_utf8_lossy(&bytes[..whole]);
        for (number, line) in (1..).zip(text.lines()) {
            let corrupt = |why: &str| Error::new(Kind::Corrupt, format!("{}:{number}: {why}", file.display()));
            let line: Line = serde_json::from_str(line).map_err(|why| corrupt(&why.to_string()))?;
            let hash = HEXLOWER.decode(line.request.as_bytes()).ok().and_then(|hash| hash.try_into().ok());
            let hash = hash.ok_or_else(|| corrupt("`request` is no hash"))?;
            let dated = (Timestamp::from_nanos(line.at), line.answer.get().as_bytes().to_vec());
            kept.answers.entry((line.operator, hash)).or_default().push(dated);
        }
        Ok(kept)
    }

    /// The newest answer that serves a request: of an event that was received no longer ago than the
    /// operator says.
    pub(super) fn find(&self, asked: &Asked<'_>, hash: &Hash) -> Option<HttpAnswer> {
        if asked.http.cache == 0 {
            return None;
        }
        let oldest = asked.received.saturating_sub(asked.http.cache);
        let dated = self.answers.get(&(asked.operator.to_owned(), *hash))?;
        let serves = dated.iter().filter(|(at, _)| oldest < *at && *at <= asked.received);
        serves.max_by_key(|(at, _)| *at).map(|(_, answer)| HttpAnswer::Answered(answer.clone()))
    }

    /// Takes an answer that is recorded elsewhere.
    pub(super) fn remember(&mut self, past: PastAnswer) {
        let PastAnswer { operator, request, received, answer } = past;
        self.answers.entry((operator, request)).or_default().push((received, answer));
    }

    /// Keeps an answer, if it may serve later requests.
    pub(super) fn note(&mut self, asked: &Asked<'_>, hash: &Hash, answer: &HttpAnswer) {
        let HttpAnswer::Answered(json) = answer else { return };
        if asked.http.cache == 0 {
            return;
        }
        let oldest = asked.received.saturating_sub(asked.http.cache);
        let dated = self.answers.entry((asked.operator.to_owned(), *hash)).or_default();
        dated.retain(|(at, _)| oldest < *at);
        dated.push((asked.received, json.clone()));
        if self.file.is_some() {
            let raw = RawValue::from_string(String::from_utf8_lossy(json).into_owned());
            let Ok(answer) = raw else { return };
            let (operator, request) = (asked.operator.to_owned(), HEXLOWER.encode(hash));
            let line = Line { operator, request, at: asked.received.nanos(), answer };
            self.unwritten.extend(serde_json::to_vec(&line).unwrap_or_default());
            self.unwritten.push(b'\n');
        }
    }

    /// Appends new answers to the file.
    pub(super) fn write(&mut self) -> std::io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !self.unwritten.is_empty()) else { return Ok(()) };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(&self.unwritten)?;
        file.sync_data()?;
        self.unwritten.clear();
        Ok(())
    }
}
