//! Settlements in the audit: each once, with the event as it was parked and as it was sent again.

use flowmeter_engine::Error;
use flowmeter_engine::journal::{Entries, Place};
use flowmeter_engine::live::{Letter, Settlement, SettlementItem, items, parked_item, settlement_item};
use flowmeter_store::catalog::count_to;
use flowmeter_store::log::{Entry, Reader};
use serde_json::{Value, json};

use crate::audit::{Image, Who};
use crate::change::ChangeSet;
use crate::installation::{Installation, Served};

/// The actor in the audit of a parked event that another event superseded.
const BY_EVENT: &str = "flowmeter";

impl Installation {
    /// Writes settlements that are not in the audit yet to it.
    pub(crate) fn audit_settlements(&self, served: &Served) -> Result<(), Error> {
        let _change = self.change()?;
        let cursor = format!("settled/{}", served.kept.id).into_bytes();
        let from = self.catalog.counter(&cursor)?;
        let reader = served.worker().ask(move |live| {
            live.commit()?;
            let settled = live.outlet().settled();
            (from < settled.written()).then(|| settled.reader(from)).transpose()
        })??;
        let Some(mut reader) = reader else { return Ok(()) };
        let mut events = Events { installation: self, served, parked: None, parked_reader: None, log: None };
        while let Some(entry) = reader.read()? {
            let mut set = ChangeSet::default();
            let mut next = from;
            for (number, item) in items(&entry).filter(|(number, _)| *number >= from) {
                next = number + 1;
                if let Some(item) = settlement_item(item) {
                    self.audit_settlement(&mut set, served, &item, &mut events)?;
                }
            }
            set.rows.push(count_to(&cursor, next));
            self.catalog.commit(&set.rows)?;
        }
        Ok(())
    }

    fn audit_settlement(
        &self,
        set: &mut ChangeSet,
        served: &Served,
        item: &SettlementItem,
        events: &mut Events<'_>,
    ) -> Result<(), Error> {
        let Settlement { how, who, by, position, number, .. } = &item.settlement;
        let name = if who.is_empty() { BY_EVENT } else { who.as_str() };
        let mut who = Who::named(name, served.kept.namespace.as_str());
        let action = format!("correction.{}", how.name());
        let Some(number) = *number else {
            let object = format!("{}#{}", served.kept.name, item.arrival);
            let after = json!({"arrival": item.arrival, "by": by, "entry": position});
            return self.audit_in(set, &who, &action, &object, (Value::Null, after));
        };
        let object = format!("{}:{}", served.kept.name, Place::first(number));
        who.request = self.askings.take(served.kept.id, number, name);
        let before = events.parked(number)?.map(|event| Image::sent(&event));
        let after = events.sent(*position)?.map(|event| Image::sent(&event));
        self.audit_in(set, &who, &action, &object, (before.unwrap_or_default(), after.unwrap_or_default()))
    }
}

/// Reads the events of settlements. Those of a job follow each other in both logs, so the readers move
/// on and are not opened for each.
struct Events<'i> {
    installation: &'i Installation,
    served: &'i Served,
    /// The entry of the parked events that was read last.
    parked: Option<Entry>,
    parked_reader: Option<Reader>,
    log: Option<Box<dyn Entries>>,
}

impl Events<'_> {
    /// Returns a parked event by its number, as received; none if it was removed.
    fn parked(&mut self, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let span = |entry: &Entry| entry.first_item..entry.first_item + u64::from(entry.items);
        if !self.parked.as_ref().is_some_and(|entry| span(entry).contains(&number)) {
            // The next entry is read, and else the one with the number is looked for.
            let follows = self.parked.as_ref().is_some_and(|entry| span(entry).end <= number);
            let next = self.parked_reader.as_mut().filter(|_| follows).map(Reader::read).transpose()?.flatten();
            self.parked = next.filter(|entry| span(entry).contains(&number));
            if self.parked.is_none() {
                let mut reader = self.served.worker().ask(move |live| live.outlet().parked().reader(number))??;
                self.parked = reader.read()?;
                self.parked_reader = Some(reader);
            }
        }
        let Some(entry) = &self.parked else { return Ok(None) };
        let found = items(entry).find(|(known, _)| *known == number);
        Ok(found.and_then(|(_, item)| Some(parked_item(item)?.raw.to_vec())))
    }

    /// Returns the event that counts in the place of a parked one, if the log still has it.
    fn sent(&mut self, position: u64) -> Result<Option<Vec<u8>>, Error> {
        let log = match self.log.take().filter(|log| log.position() <= position) {
            Some(log) => Ok(log),
            None => self.installation.read_log(position, self.installation.log_end()),
        };
        let Ok(mut log) = log else { return Ok(None) };
        if log.skip_to(position).is_err() {
            return Ok(None);
        }
        let entry = log.read()?.filter(|entry| entry.position == position);
        self.log = Some(log);
        let Some(entry) = entry else { return Ok(None) };
        let lines = Letter::read(&entry.bytes)?.lines.trim_ascii();
        Ok((!lines.is_empty()).then(|| lines.to_vec()))
    }
}
