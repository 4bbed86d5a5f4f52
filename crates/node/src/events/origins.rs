//! The usage audit of a session: every file, object, table or service that its sources read, with the
//! number of its events by verdict, and its state.

use std::collections::BTreeMap;

use flowmeter_connectors::sources::{ItemState, ItemValue, items_of, key_of, shown_item};
use flowmeter_core::source::SourcePlan;
use flowmeter_engine::Error;
use flowmeter_engine::live::{Fed, Letter, OriginCount, Origins, Taken};
use flowmeter_engine::node::Submission;
use serde_json::{Value, json};

use crate::audit::Who;
use crate::csv::Table;
use crate::installation::Installation;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};
use crate::sessions::KeptSession;

/// A place that a source read, or could not read.
#[derive(Clone, Debug)]
pub struct OriginView {
    /// The id of the source.
    pub source: String,
    /// The file, object, table or address.
    pub origin: String,
    /// `taking`, `taken`, `failed` or `skipped`.
    pub state: &'static str,
    /// Its events by verdict.
    pub count: OriginCount,
    /// The key and the state of the file or object, if it is one.
    pub item: Option<(String, ItemValue)>,
}

impl OriginView {
    /// Returns it as the API shows it.
    pub fn shown(&self) -> Value {
        let OriginCount { received, counted, duplicate, filtered, parked, passed } = self.count;
        let mut shown = json!({
            "source": self.source, "origin": self.origin, "state": self.state,
            "events": {"received": received, "counted": counted, "duplicate": duplicate, "filtered": filtered,
                       "parked": parked, "other": passed},
        });
        if let Some((_, item)) = &self.item {
            shown["bytes"] = json!(item.size);
            shown["sha256"] = json!(item.digest);
            shown["reason"] = json!(item.why);
        }
        shown
    }
}

fn state_name(state: ItemState) -> &'static str {
    match state {
        ItemState::Taking => "taking",
        ItemState::Taken => "taken",
        ItemState::Failed => "failed",
        ItemState::Skipped => "skipped",
    }
}

impl Installation {
    /// Returns the places that the sources of a session read, by source and name.
    ///
    /// # Errors
    /// The pipeline is not loaded.
    pub fn origins(&self, session: &KeptSession) -> Result<Vec<OriginView>, Refused> {
        let at = |why: Error| refusal_of(&why);
        let Some(served) = self.served_of(session.pipeline_id) else {
            let detail = format!("pipeline `{}` is not loaded", session.pipeline);
            return Err(Box::new(Refusal::new(RefusalKind::PipelineStopped, detail)));
        };
        let state = served.worker().ask(|live| {
            let taken: Vec<Taken> = live.plan().sources.iter().map(|source| live.taken(&source.id)).collect();
            (live.plan().sources.clone(), taken, live.outlet().origins().clone())
        });
        let (sources, taken, counts) = state.map_err(at)?;
        let mut found = BTreeMap::new();
        for (source, taken) in sources.iter().zip(&taken) {
            collect(source, taken, &counts, session.number, &mut found);
        }
        Ok(found.into_values().collect())
    }

    /// Skips a file or object that cannot be read, so that sessions no longer fail because of it.
    pub fn skip_origin(&self, who: &Who, session: &KeptSession, source: &str, origin: &str, reason: &str) -> Result<(), Refused> {
        let at = |why: Error| refusal_of(&why);
        let known = self.origins(session)?.into_iter().find(|known| known.source == source && known.origin == origin);
        let Some(OriginView { item: Some((key, item)), .. }) = known else { return Err(not_found("origin", origin)) };
        if item.state != ItemState::Failed {
            let detail = format!("{origin} is {}; only a failed one can be skipped", state_name(item.state));
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let Some(served) = self.served_of(session.pipeline_id) else { return Err(not_found("pipeline", &session.pipeline)) };
        let skipped = ItemValue { state: ItemState::Skipped, why: Some(format!("skipped by {}: {reason}", who.name)), ..item };
        let taken = vec![(key, Some(skipped.text()))];
        let fed = Fed { source: source.to_owned(), taken, ..Fed::default() };
        let namespace = &session.namespace;
        let letter = Letter { fed: Some(fed), pipeline: Some(session.pipeline_id), ..Letter::open(namespace, b"") };
        let mut bytes = Vec::new();
        letter.write_head(&mut bytes);
        let _change = self.begin_change()?;
        let before = json!({"origin": origin, "state": "failed"});
        let audited = self
            .audited(who, "origin.skip", &session.session_id, before, json!({"state": "skipped", "reason": reason}))
            .map_err(at)?;
        let placed = self.put_and_wait(|reply| Submission::events(bytes.len(), bytes, 0, &**self.clock(), reply).alone());
        let placed = placed.map_err(at)?;
        self.catalog.commit(&audited).map_err(|why| refusal_of(&why.into()))?;
        if !served.board().is_paused() {
            served.worker().wait_for(placed.position + 1).map_err(at)?;
        }
        Ok(())
    }
}

/// Adds the places of a source that a session looked at, or that are no files.
fn collect(
    source: &SourcePlan,
    taken: &Taken,
    counts: &Origins,
    session: u64,
    found: &mut BTreeMap<(String, String), OriginView>,
) {
    let shown = |(name, item): (&str, ItemValue)| (shown_item(&source.kind, name), (key_of(name), item));
    let mut items: BTreeMap<String, (String, ItemValue)> = items_of(taken).map(shown).collect();
    let of_source = counts.iter().filter(|((id, _), _)| *id == source.id);
    for ((id, origin), count) in of_source {
        let item = items.remove(origin);
        if item.as_ref().is_some_and(|(_, item)| item.session != session) {
            continue;
        }
        let state = item.as_ref().map_or("taken", |(_, item)| state_name(item.state));
        let view = OriginView { source: id.clone(), origin: origin.clone(), state, count: *count, item };
        found.insert((id.clone(), origin.clone()), view);
    }
    for (origin, item) in items.into_iter().filter(|(_, (_, item))| item.session == session) {
        let state = state_name(item.1.state);
        let view = OriginView {
            source: source.id.clone(),
            origin: origin.clone(),
            state,
            count: OriginCount::default(),
            item: Some(item),
        };
        found.insert((source.id.clone(), origin), view);
    }
}

/// The columns of the usage audit.
const COLUMNS: [&str; 12] =
    ["source", "origin", "state", "received", "counted", "duplicate", "filtered", "parked", "other", "bytes", "sha256", "reason"];

/// Returns the usage audit as CSV.
pub fn origins_csv(origins: &[OriginView]) -> String {
    let mut table = Table::with_columns(COLUMNS);
    for view in origins {
        let OriginCount { received, counted, duplicate, filtered, parked, passed } = view.count;
        let item = view.item.as_ref().map(|(_, item)| item);
        [&view.source, &view.origin, view.state].into_iter().for_each(|text| table.cell(text));
        [received, counted, duplicate, filtered, parked, passed].iter().for_each(|count| table.cell(&count.to_string()));
        table.cell(&item.map(|item| item.size.to_string()).unwrap_or_default());
        table.cell(&item.map(|item| item.digest.clone()).unwrap_or_default());
        table.cell(&item.and_then(|item| item.why.clone()).unwrap_or_default());
        table.end_row();
    }
    table.finish()
}
