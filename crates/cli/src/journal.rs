//! The session's steps: taken, remembered, and written down as they happen.

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
    /// Every status it went through.
    pub(crate) statuses: Vec<Status>,
    file: Option<(File, String)>,
}

impl Journal {
    /// A new session; its events go to a file, if one is named.
    pub(crate) fn new(number: u64, plan: &Plan, run_type: RunType, events: Option<&Path>) -> Result<Journal, Error> {
        let open = |path: &Path| {
            let name = path.display().to_string();
            let file = File::create(path).map_err(|why| Error::io(&name, &why))?;
            Ok::<_, Error>((file, name))
        };
        let session = Session::new(number, run_type, plan, clock::now());
        Ok(Journal { session, statuses: Vec::new(), file: events.map(open).transpose()? })
    }

    /// Takes a step and writes the event that tells of it.
    pub(crate) fn step(&mut self, trigger: Trigger) -> Result<(), Error> {
        let event = self.session.take(trigger, clock::now()).map_err(|why| Error::new(Kind::Bug, why.to_string()))?;
        self.statuses.push(event.status);
        self.write(&event.to_json())
    }

    /// Ends the session by an error, which is kept with it.
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
