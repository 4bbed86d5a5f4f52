//! The slots of a round: each takes a block and leads its events.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use flowmeter_core::mediation::{Answers, Asking, Decoder, Flow, Mediator, Services};
use flowmeter_core::table::Tables;
use flowmeter_core::time::Timestamp;

use crate::Error;
use crate::source::{Received, Source};

/// One slot of a round: a flow and the mediator that leads it.
pub(crate) struct Slot {
    pub(crate) flow: Flow,
    pub(crate) mediator: Mediator,
    pub(crate) decoder: Option<Arc<Decoder>>,
}

/// The source of a run and its first failure.
pub(crate) struct Intake<'s> {
    pub(crate) source: &'s mut dyn Source,
    pub(crate) sequence: u64,
    pub(crate) failure: Option<Error>,
}

impl Slot {
    /// Takes the answers of the partitions about some events of the last stage.
    pub(crate) fn conclude(&mut self, events: Range<u32>, answers: &[Answers]) {
        self.mediator.conclude(&mut self.flow, events, answers.iter());
    }

    /// Leads a held event to the next stage; returns the places where it waits to be admitted.
    pub(crate) fn release(&mut self, node: u16, place: u32) -> Vec<Asking> {
        self.mediator.release(&mut self.flow, node, place)
    }

    /// Leads the events of a span to the first stage.
    pub(crate) fn enter_span(&mut self, events: &Range<u32>, again: bool) {
        self.mediator.enter_span(&mut self.flow, events, again);
    }

    /// Takes the answers of the partitions for a stage.
    pub(crate) fn resume<'a>(&mut self, stage: usize, answers: impl Iterator<Item = &'a Answers> + Clone) {
        self.mediator.resume(&mut self.flow, stage, answers);
    }

    /// Completes the flow after all stages.
    pub(crate) fn finish(&mut self) {
        self.mediator.finish(&mut self.flow);
    }

    /// Takes the next block, if there is one, and leads it to the first stage.
    pub(crate) fn fill(
        &mut self,
        intake: &Mutex<&mut Intake<'_>>,
        at: Timestamp,
        tables: &Tables,
        services: &Option<Arc<dyn Services>>,
    ) {
        let block = &mut self.flow.batch.block;
        block.clear();
        {
            let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
            self.decoder = intake.next(block);
        }
        if let Some(decoder) = &self.decoder {
            let block = &self.flow.batch.block;
            self.flow.at = block.received_at.or(block.as_of).unwrap_or(at);
            self.flow.tables.clone_from(tables);
            self.flow.services.clone_from(services);
            self.mediator.begin(&mut self.flow, decoder);
        }
    }
}

impl Intake<'_> {
    fn next(&mut self, block: &mut flowmeter_core::event::Block) -> Option<Arc<Decoder>> {
        if self.failure.is_some() {
            return None;
        }
        match self.source.receive(block) {
            Ok(Received::Block(decoder)) => {
                block.sequence = self.sequence;
                self.sequence += 1;
                Some(decoder)
            }
            Ok(Received::End) => None,
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }
}
