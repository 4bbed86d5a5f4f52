//! Files and objects that are written once: one for each window and place.
//!
//! After a crash, a window has the same records again. The name is made from the number of its
//! first record, so name and bytes are the same as well: a repetition finds what it would write.

use std::collections::BTreeMap;

use flowmeter_document::TargetFormat;
use flowmeter_engine::outbox::{Answer, Held, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};

use super::format::Index;
use super::manifest::{Manifests, Written};
use super::place::{self, WINDOW, window_name};
use super::{all_unavailable, format};

/// A store of bytes under names.
pub(super) trait Blobs: Send {
    /// Stores bytes under a name that is not taken.
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<Put, Error>;

    /// Returns the bytes under a name.
    fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Returns the names that begin with a text.
    fn names(&mut self, beginning: &str) -> Result<Vec<String>, Error>;

    /// Checks that bytes can be stored under names that begin with a text.
    fn probe(&mut self, beginning: &str) -> Result<(), Error>;

    /// Returns whether its last error does not change until a person acts.
    fn needs_a_person(&self) -> bool {
        false
    }
}

/// The result of storing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The bytes are stored.
    New,
    /// The name was taken.
    Taken,
}

/// Records in files or objects that are written once.
pub(super) struct Windowed<B> {
    blobs: B,
    template: String,
    format: TargetFormat,
    /// The content that was read back last: names under a prefix, and the records of some of them.
    listed: Option<(String, Vec<(u64, String)>)>,
    read: BTreeMap<String, Index>,
    /// Written after the objects of each window.
    manifests: Option<Manifests>,
}

/// Names that are kept of a list: those of one place. Ten thousand windows a day fill it
/// in three months.
pub(super) const NAMES_MAX: usize = 1_000_000;
/// Behind the number of a file with one record that its window was written without.
pub(super) const ALONE: &str = "-alone";
/// Indexes of blobs that are kept while records are read back in order.
const READ_MAX: usize = 4;

impl<B: Blobs> Windowed<B> {
    /// Creates the target.
    ///
    /// # Errors
    /// The template does not contain the window's number, or has it too early.
    pub(super) fn new(blobs: B, template: &str, format: TargetFormat) -> Result<Windowed<B>, Error> {
        let behind = template.split_once(WINDOW).map(|(_, behind)| behind);
        if behind.is_none_or(|behind| behind.contains('/')) {
            let message = format!("{template}: {{window}} must be in the last part of the path");
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(Windowed { blobs, template: template.to_owned(), format, listed: None, read: BTreeMap::new(), manifests: None })
    }

    /// Adds the manifests that are written after the objects of a window.
    pub(super) fn with_manifests(self, manifests: Option<Manifests>) -> Windowed<B> {
        Windowed { manifests, ..self }
    }

    fn write(&mut self, window: Span, records: &[Outgoing<'_>]) -> Result<Vec<Answer>, Error> {
        self.look_afresh();
        // Records that are sent again one by one may be grouped differently next time, so each is a
        // window of its own.
        let is_whole = (window.until - window.first) as usize >= records.len();
        let mut places: BTreeMap<(u64, String), Vec<usize>> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let first = if is_whole { window.first } else { record.number };
            let name = place::fill(&self.template, record)?.replace(WINDOW, &window_name(first));
            places.entry((first, name)).or_default().push(at);
        }
        let mut answers = vec![Answer::NotTried; records.len()];
        let mut windows: BTreeMap<u64, (Vec<Written>, Vec<usize>)> = BTreeMap::new();
        for ((first, name), members) in places {
            let chosen: Vec<Outgoing<'_>> = members.iter().map(|at| records[*at]).collect();
            let bytes = format::whole(self.format, &chosen)?;
            let (mut answer, mut name) = (self.put(&name, &bytes, &chosen)?, name);
            if let (Answer::Refused(_), [record]) = (&answer, chosen.as_slice()) {
                // The window of this number was written without it: it had been skipped.
                let path = place::fill(&self.template, record)?;
                name = path.replace(WINDOW, &format!("{}{ALONE}", window_name(record.number)));
                answer = self.put(&name, &bytes, &chosen)?;
            }
            members.iter().for_each(|at| answers[*at] = answer.clone());
            let (written, all) = windows.entry(first).or_default();
            written.push(Written { name, records: members.len(), bytes });
            all.extend(members);
        }
        for (first, (written, members)) in windows {
            let is_accepted = members.iter().all(|at| matches!(answers[*at], Answer::Accepted));
            let Some(manifests) = self.manifests.as_ref().filter(|_| is_accepted) else { continue };
            let answer = match manifests.write(&mut self.blobs, first, &written) {
                Ok(None) => continue,
                Ok(Some(why)) => Answer::Refused(why),
                Err(why) => Answer::Unavailable { why: why.to_string(), after: None },
            };
            members.iter().for_each(|at| answers[*at] = answer.clone());
        }
        Ok(answers)
    }

    /// Stores a file under a name, unless it is there.
    fn put(&mut self, name: &str, bytes: &[u8], records: &[Outgoing<'_>]) -> Result<Answer, Error> {
        Ok(match self.blobs.put(name, bytes.to_vec()) {
            Ok(Put::New) => Answer::Accepted,
            Ok(Put::Taken) if self.blobs.get(name)?.is_some_and(|there| there == bytes) => Answer::Accepted,
            Ok(Put::Taken) => self.compare(name, records)?,
            Err(why) => Answer::Unavailable { why: why.to_string(), after: None },
        })
    }

    /// Compares the records with other bytes under the same name: those of a window with more
    /// records, or of another program.
    fn compare(&mut self, name: &str, records: &[Outgoing<'_>]) -> Result<Answer, Error> {
        let there = format::index(self.format, &self.blobs.get(name)?.unwrap_or_default())?;
        let mut all = true;
        for record in records {
            all &= there.get(&record.names()?.record_id) == Some(&format::digest(self.format, record.json)?);
        }
        Ok(match all {
            true => Answer::Accepted,
            false => Answer::Refused(format!("{name} is there and holds something else; move it away and send again")),
        })
    }

    fn look(&mut self, record: &Outgoing<'_>) -> Result<Held, Error> {
        let path = place::fill(&self.template, record)?;
        let Some((beginning, ending)) = path.split_once(WINDOW) else { return Ok(Held::Missing) };
        if self.listed.as_ref().is_none_or(|(known, _)| known != beginning) {
            let names = self.blobs.names(beginning)?;
            let number = |name: &String| {
                let number = name.strip_prefix(beginning)?.strip_suffix(ending)?;
                number.strip_suffix(ALONE).unwrap_or(number).parse::<u64>().ok()
            };
            let mut numbered: Vec<(u64, String)> = names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
            numbered.sort();
            self.listed = Some((beginning.to_owned(), numbered));
            self.read.clear();
        }
        let names = self.listed.as_ref().map(|(_, names)| names.as_slice()).unwrap_or_default();
        let before = names.partition_point(|(number, _)| *number <= record.number);
        let candidates: Vec<String> = names[..before].iter().rev().map(|(_, name)| name.clone()).collect();
        let id = record.names()?.record_id;
        for name in candidates {
            if !self.read.contains_key(&name) {
                let bytes = self.blobs.get(&name)?.unwrap_or_default();
                let index = format::index(self.format, &bytes)?;
                if self.read.len() >= READ_MAX {
                    self.read.pop_first();
                }
                self.read.insert(name.clone(), index);
            }
            match self.read.get(&name).and_then(|index| index.get(&id)) {
                Some(digest) if *digest == format::digest(self.format, record.json)? => return Ok(Held::Same),
                Some(_) => return Ok(Held::Different("other fields under its recordId".to_owned())),
                None => {}
            }
        }
        Ok(Held::Missing)
    }
}

impl<B: Blobs> Target for Windowed<B> {
    fn probe(&mut self) -> Result<(), Error> {
        self.blobs.probe(place::fixed(&self.template))
    }

    fn needs_a_person(&self) -> bool {
        self.blobs.needs_a_person()
    }

    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        self.write(window, records).unwrap_or_else(|why| all_unavailable(&why, records.len()))
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn look_afresh(&mut self) {
        (self.listed, self.read) = (None, BTreeMap::new());
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        records.iter().map(|record| self.look(record)).collect()
    }
}
