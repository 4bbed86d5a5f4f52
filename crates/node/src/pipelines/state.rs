//! The state of operators that a new version of a pipeline has no place for.

use flowmeter_core::partition::Change;
use flowmeter_core::plan::Plan;
use flowmeter_engine::{Displaced, Error, Kind, StateChoice, StateChoices, choice_without_state};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, refusal_of};

/// Reads the choices of a request.
///
/// # Errors
/// A value is neither `release` nor `forget`.
pub fn read_choices(given: &Map<String, Value>) -> Result<StateChoices, Refused> {
    let read = |(operator, value): (&String, &Value)| {
        let choice = value.as_str().and_then(StateChoice::named);
        let wrong = || {
            let detail = format!("state.{operator}: expected \"release\" or \"forget\", found {value}");
            Box::new(Refusal::new(RefusalKind::Invalid, detail).field(format!("state.{operator}")))
        };
        Ok((operator.clone(), choice.ok_or_else(wrong)?))
    };
    given.iter().map(read).collect()
}

impl Installation {
    /// Returns the choices of a request together with those of the versions that a loaded pipeline
    /// has not adopted yet, and the operators whose state has no place in the new version.
    ///
    /// # Errors
    /// A choice names no operator that keeps state, or state without a place has no choice.
    pub(crate) fn check_state(
        &self,
        pipeline: &KeptPipeline,
        served: &Served,
        plan: &Plan,
        state: &StateChoices,
    ) -> Result<(StateChoices, Vec<Displaced>), Refused> {
        let at = |why: Error| refusal_of(&why);
        let (version, current) = served.worker.ask(|live| (live.version(), std::sync::Arc::clone(live.plan()))).map_err(at)?;
        let mut all = self.pending_choices(pipeline.id, version).map_err(at)?;
        all.extend(state.clone());
        let (asked, choices) = (plan.clone(), all.clone());
        let displaced = served.worker.ask(move |live| live.accepts(&asked, &choices));
        let displaced = displaced.and_then(|accepted| accepted).map_err(at)?;
        if let Some(detail) = Displaced::open(&displaced) {
            let open = displaced.iter().filter(|displaced| displaced.choice.is_none());
            let operators: Vec<Value> = open.map(shown).collect();
            return Err(Box::new(Refusal::new(RefusalKind::StateIncompatible, detail).extra("operators", operators)));
        }
        if let Some(operator) = choice_without_state(state, &[&current, plan]) {
            let detail = format!("state: the pipeline has no operator `{operator}` that keeps state");
            return Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field(format!("state.{operator}"))));
        }
        Ok((all, displaced))
    }

    /// Returns the choices of the versions after one, in their order.
    pub(crate) fn pending_choices(&self, pipeline: Uuid, after: u32) -> Result<StateChoices, Error> {
        let versions = self.versions(pipeline)?.into_iter().filter(|version| version.version > after);
        Ok(versions.flat_map(|version| version.state).collect())
    }
}

/// Returns an error about state that has no place and no choice, for a pipeline that begins to work.
pub(crate) fn require_choices(displaced: &[Displaced]) -> Result<(), Error> {
    match Displaced::open(displaced) {
        None => Ok(()),
        Some(open) => {
            let message = format!("state_incompatible: {open}; put the version again, with `state`: release or forget for each");
            Err(Error::new(Kind::Invalid, message))
        }
    }
}

/// Returns an operator whose state has no place, in JSON form.
pub(crate) fn shown(displaced: &Displaced) -> Value {
    let Displaced { operator, change, held, choice } = displaced;
    let (change, fields): (&str, &[&str]) = match change {
        Change::Gone => ("gone", &[]),
        Change::Kind(_) => ("kind", &[]),
        Change::Options(names) => ("fields", names),
    };
    let mut shown = json!({"operator": operator, "change": change, "fields": fields, "held": held});
    if let Some(choice) = choice {
        shown["choice"] = json!(choice);
    }
    shown
}
