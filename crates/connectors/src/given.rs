//! Events in memory as a source: those of a test, in its document or in a request.

use std::sync::Arc;

use flowmeter_core::event::{Block, Origin};
use flowmeter_core::mediation::Decoder;
use flowmeter_core::plan::Plan;
use flowmeter_core::source::Format;
use flowmeter_engine::{Error, Received, Source};

/// Events in memory, one per line. They are received as one block.
pub struct Given {
    lines: Option<Vec<u8>>,
    decoder: Arc<Decoder>,
    source: usize,
}

impl Given {
    /// Creates the source of these lines: JSON objects, or lines of an access log if `is_raw`. They
    /// come in at the source `http` of the plan, or at its first source.
    pub fn new(plan: &Plan, lines: Vec<u8>, is_raw: bool) -> Given {
        let source = plan.sources.iter().position(flowmeter_core::source::SourcePlan::is_http).unwrap_or(0);
        let format = if is_raw { Format::AccessLog } else { Format::Ndjson };
        let decoder = match plan.sources.get(source) {
            Some(source) => source.decoder(plan, format, &[]),
            None => Decoder::json(&plan.paths),
        };
        Given { lines: Some(lines), decoder: Arc::new(decoder), source }
    }
}

impl Source for Given {
    fn receive(&mut self, block: &mut Block) -> Result<Received, Error> {
        let Some(lines) = self.lines.take() else { return Ok(Received::End) };
        block.open().extend_from_slice(&lines);
        block.seal();
        block.first_line = 1;
        block.origin = Origin { name: "events".into(), source: self.source, columns: None };
        Ok(Received::Block(Arc::clone(&self.decoder)))
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (0, None)
    }
}
