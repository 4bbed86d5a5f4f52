//! The statuses of a session, and their events, written as they happen.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use flowmeter_core::plan::Plan;
use flowmeter_core::session::{OperatorUpdate, RunType, Session, Status, Trigger};
use flowmeter_engine::{Error, Kind, Totals};

use crate::clock;

/// A session and the record of its steps.
pub(crate) struct Journal {
    pub(crate) session: Session,
    /// All statuses so far.
    pub(crate) statuses: Vec<Status>,
    file: Option<(File, String)>,
}

impl Journal {
    /// Starts a session; its events go to a file, if one is named.
    pub(crate) fn new(number: u64, plan: &Plan, run_type: RunType, events: Option<&Path>) -> Result<Journal, Error> {
        let open = |path: &Path| {
            let name = path.display().to_string();
            let file = File::create(path).map_err(|why| Error::io(&name, &why))?;
            Ok::<_, Error>((file, name))
        };
        let session = Session::new(number, run_type, plan, clock::now());
        Ok(Journal { session, statuses: Vec::new(), file: events.map(open).transpose()? })
    }

    /// Takes a step and writes its event.
    pub(crate) fn step(&mut self, trigger: Trigger) -> Result<(), Error> {
        let event = self.session.take(trigger, clock::now()).map_err(|why| Error::new(Kind::Bug, why.to_string()))?;
        self.statuses.push(event.status);
        self.write(&event.to_json())
    }

    /// Ends the session with an error, which is stored in it.
    pub(crate) fn fail(&mut self, why: &anyhow::Error) -> Result<(), Error> {
        self.session.error = Some(format!("{why:#}"));
        self.step(Trigger::Fail)
    }

    /// Writes the counts of every operator.
    pub(crate) fn operators(&mut self, plan: &Plan, totals: &Totals) -> Result<(), Error> {
        for (node, count) in plan.nodes.iter().zip(&totals.operators) {
            let update = OperatorUpdate { session: &self.session, operator: &node.id, count: *count };
            let json = update.to_json();
            self.write(&json)?;
        }
        Ok(())
    }

    fn write(&mut self, json: &str) -> Result<(), Error> {
        match &mut self.file {
            Some((file, name)) => writeln!(file, "{json}").map_err(|why| Error::io(name, &why)),
            None => Ok(()),
        }
    }
}
