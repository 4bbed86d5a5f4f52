//! Deliveries of the server to a dishonest target of each pipeline, and what people do with them.
//!
//! The auditor checks that every record is in effect exactly once at its target in the end, and
//! that the audit has an entry for every request that was answered, and for no refused one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_engine::live::record_item;
use flowmeter_engine::outbox::{Answer, DeliveryState, Held, Outgoing, Repeat, Span, Target};
use flowmeter_node::audit::AuditFilter;
use flowmeter_node::deliveries::DeliveryFilter;
use flowmeter_node::deliveries::reconciling::ReconcileWish;
use flowmeter_node::installation::{Installation, OpenTarget, Served};
use flowmeter_node::refusal::{Refusal, RefusalKind};

use super::audit::records_of;
use super::model::PIPELINES;
use super::{Site, who};
use crate::documents::HOUR;
use crate::random::Random;
use crate::target::Liar;

/// Rounds of sending again and comparing after which an honest target must have everything.
const ROUNDS_MAX: u32 = 60;

/// The target of a pipeline. It is outside the program, and survives its end.
#[derive(Clone)]
pub(super) struct Biller(Arc<Mutex<Liar>>);

impl Biller {
    pub(super) fn new(random: Random) -> Biller {
        Biller(Arc::new(Mutex::new(Liar::new(random))))
    }

    fn liar(&self) -> MutexGuard<'_, Liar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target for Biller {
    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        self.liar().send(window, records)
    }

    fn repeat(&self) -> Repeat {
        self.liar().repeat()
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn read_back(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Held>, Error> {
        self.liar().read_back(records)
    }
}

/// The outcome of a request.
#[derive(Clone, Copy)]
enum Outcome {
    /// It was done, for so many records.
    Done(u64),
    /// Nothing to do, or not possible: it has no effect, also not in the audit.
    Refused,
    /// The disk or the program failed: it was done or not.
    Unsure,
}

/// Numbers of requests of people, by action and object.
#[derive(Default)]
pub(super) struct Requests {
    done: BTreeMap<(&'static str, String), usize>,
    unsure: BTreeMap<(&'static str, String), usize>,
}

impl Requests {
    fn note(&mut self, action: &'static str, object: String, outcome: Outcome) {
        let counts = match outcome {
            Outcome::Done(_) => &mut self.done,
            Outcome::Unsure => &mut self.unsure,
            Outcome::Refused => return,
        };
        *counts.entry((action, object)).or_default() += 1;
    }
}

fn outcome_of(why: &Refusal) -> Outcome {
    if matches!(why.kind, RefusalKind::Conflict | RefusalKind::NotFound) { Outcome::Refused } else { Outcome::Unsure }
}

impl Site {
    /// Returns the function by which the server opens its targets.
    pub(super) fn opens_targets(&self) -> OpenTarget {
        let billers = self.billers.clone();
        Arc::new(move |plan, _| {
            let biller = PIPELINES.iter().position(|name| *name == plan.id).and_then(|at| billers.get(at));
            Ok(biller.cloned().map(|biller| Box::new(biller) as Box<dyn Target>))
        })
    }

    /// Advances the time of the targets, which become unavailable and lose records meanwhile.
    pub(super) fn pass_at_targets(&self) {
        self.billers.iter().for_each(|biller| biller.liar().pass(self.now()));
    }

    /// Sends dead deliveries again, one or all; or compares a target and sends it what it lacks.
    pub(super) fn handle_deliveries(&mut self) -> Result<(), String> {
        let server = self.server()?;
        let name = PIPELINES[self.random.index(PIPELINES.len())];
        let Some(served) = server.served().into_iter().find(|served| served.kept.name == name) else { return Ok(()) };
        let (action, object, outcome) = match self.random.below(3) {
            0 => {
                let dead = dead_of(&server, &served);
                if dead.is_empty() {
                    return Ok(());
                }
                let id = dead[self.random.index(dead.len())].clone();
                let done = server.resend_delivery(&who(), &id);
                ("delivery.resend", id, done.map_or_else(|why| outcome_of(&why), |_| Outcome::Done(1)))
            }
            1 => ("delivery.resend", name.to_owned(), resend(&server, name)),
            _ => ("delivery.mend", name.to_owned(), mend(&server, name)),
        };
        self.note("deliveries handled");
        self.requests.note(action, object, outcome);
        Ok(())
    }

    /// Ends the faults of the targets.
    pub(super) fn make_targets_honest(&mut self) {
        self.billers.iter().for_each(|biller| biller.liar().is_honest = true);
        self.pass_at_targets();
    }

    /// Sends the target of each pipeline what it lacks, until it has everything. Records that it lost
    /// are found by comparing.
    pub(super) fn send_again(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let server = self.server()?;
            let mut agree = true;
            for name in PIPELINES {
                let outcome = resend(&server, name);
                agree &= matches!(outcome, Outcome::Refused);
                self.requests.note("delivery.resend", name.to_owned(), outcome);
            }
            self.clock.0.fetch_add(HOUR, Ordering::AcqRel);
            self.settle()?;
            for name in PIPELINES {
                let outcome = mend(&server, name);
                agree &= matches!(outcome, Outcome::Done(0));
                self.requests.note("delivery.mend", name.to_owned(), outcome);
            }
            if agree {
                return Ok(());
            }
        }
        Err(format!("targets lack records after {ROUNDS_MAX} rounds"))
    }

    /// Delivers everything to honest targets, and checks what they hold and what the audit says of
    /// the requests.
    pub(super) fn deliver_all(&mut self) -> Result<(), String> {
        self.send_again()?;
        for (at, name) in PIPELINES.iter().enumerate() {
            self.deliver_all_of(at, name)?;
        }
        let server = self.server()?;
        let entries = server.audit_of("default", &AuditFilter::default(), None, usize::MAX).map_err(|why| why.to_string())?;
        let mut there: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.action.starts_with("delivery.")) {
            *there.entry((&entry.action, entry.object.clone())).or_default() += 1;
        }
        let keys: BTreeSet<_> =
            there.keys().map(|(action, object)| (*action, object.clone())).chain(self.requests.done.keys().cloned()).collect();
        for key in keys {
            let count = |counts: &BTreeMap<(&'static str, String), usize>| {
                counts.iter().find(|(known, _)| **known == key).map_or(0, |(_, count)| *count)
            };
            let (done, unsure) = (count(&self.requests.done), count(&self.requests.unsure));
            let entries = there.get(&key).copied().unwrap_or_default();
            if entries < done || entries > done + unsure {
                return Err(format!("the audit has {entries} entries of {key:?}; {done} were answered, {unsure} are unsure"));
            }
        }
        Ok(())
    }

    fn deliver_all_of(&mut self, at: usize, name: &'static str) -> Result<(), String> {
        let server = self.server()?;
        let served = server.served().into_iter().find(|served| served.kept.name == name);
        let served = served.ok_or_else(|| format!("{name} is not loaded"))?;
        let records = records_of(&served)?;
        let whole = records
            .iter()
            .enumerate()
            .filter_map(|(number, item)| Some((number as u64, record_item(item).filter(|record| !record.is_threshold)?.json)));
        self.billers[at].liar().audit(whole).map_err(|what| format!("{name}: {what}"))
    }
}

/// Sends all dead and waiting deliveries of a pipeline again.
fn resend(server: &Installation, name: &str) -> Outcome {
    match server.resend_deliveries(&who(), name, None) {
        Ok(0) => Outcome::Refused,
        Ok(sent) => Outcome::Done(sent),
        Err(why) => outcome_of(&why),
    }
}

/// Compares the target of a pipeline, and sends it what it lacks.
fn mend(server: &Installation, name: &str) -> Outcome {
    let wish = ReconcileWish { pipeline: name.to_owned(), target: None, from: Timestamp::MIN, to: Timestamp::MAX, mends: true };
    match server.reconcile(&who(), &wish) {
        Err(why) => outcome_of(&why),
        Ok(found) => match found.targets.into_iter().next().map(|target| target.report) {
            Some(Ok((report, _))) => Outcome::Done(report.difference_count),
            // It could not be read, so nothing was sent again.
            Some(Err(why)) if why.contains("away") => Outcome::Refused,
            Some(Err(_)) => Outcome::Unsure,
            None => Outcome::Refused,
        },
    }
}

/// Returns the ids of dead deliveries; none while that cannot be queried.
fn dead_of(server: &Installation, served: &Served) -> Vec<String> {
    let filter = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    let Ok((found, _)) = server.deliveries(served, 0, usize::MAX, &filter) else { return Vec::new() };
    found.into_iter().map(|view| view.id).collect()
}
