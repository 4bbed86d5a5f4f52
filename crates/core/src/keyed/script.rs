//! `script` with a key: its code reads and writes the state of the key.

use flowmeter_script::{Event, State};

use super::{Input, Keys, key_of};
use crate::event::{Batch, Kind};
use crate::image::{Glass, Pen, Seen};
use crate::operator::{Script, ScriptFailure};
use crate::partition::Effects;
use crate::time::Timestamp;

/// The state by key. Keys without state are not kept.
#[derive(Debug, Default)]
pub(crate) struct States(Keys<State>);

impl States {
    pub(super) fn take(&mut self, script: &Script, batch: &Batch, inputs: &[Input], at: Timestamp, effects: &mut impl Effects) {
        let empty = State::new();
        for input in inputs {
            let key = key_of(batch, input);
            let (whole, list) = (batch.resolve(input.json), batch.resolve(input.key_list).bytes);
            let given = if whole.kind == Kind::Missing { script.given(batch, input.row as usize) } else { None };
            let event = given.as_deref().map_or(Event::Whole(whole.bytes), Event::Fields);
            match script.run(event, list, self.0.get(input.hash, key).unwrap_or(&empty), at) {
                Ok((scripted, state)) => {
                    match state {
                        Some(state) if state.is_empty() => drop(self.0.remove(input.hash, key)),
                        Some(state) => self.0.insert(key, state),
                        None => {}
                    }
                    effects.scripted(input, scripted);
                }
                Err(ScriptFailure::Parked(reason, detail)) => effects.refused(input, reason, detail),
                // Nothing of this round is kept.
                Err(ScriptFailure::Stalled) => return effects.stalled(input),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        pen.count(self.0.len() as u64);
        for (key, state) in self.0.sorted() {
            pen.text(key);
            pen.count(state.len() as u64);
            for (name, value) in state {
                pen.text(name.as_bytes());
                pen.text(value.as_bytes());
            }
        }
    }

    pub(super) fn read(glass: &mut Glass<'_>) -> Seen<States> {
        let mut read = States::default();
        for _ in 0..glass.length()? {
            let key = glass.text()?;
            let mut state = State::new();
            for _ in 0..glass.length()? {
                state.push((glass.string()?, glass.string()?));
            }
            read.0.insert(key, state);
        }
        Ok(read)
    }
}
