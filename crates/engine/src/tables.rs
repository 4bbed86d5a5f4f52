//! The tables of a pipeline, as operators see them from a block on.

use std::sync::Arc;

use flowmeter_core::partition::Identities;
use flowmeter_core::plan::Plan;
use flowmeter_core::table::{Content, TableOrigin, Tables};

use crate::round::Engine;

impl<I: Identities + Send + Sync> Engine<I> {
    /// Uses these tables from now on.
    pub fn use_tables(&mut self, tables: Tables) {
        self.tables = tables;
    }

    /// A table has another content from now on.
    pub fn set_table(&mut self, table: usize, content: Option<Arc<Content>>) {
        let mut tables: Vec<_> = self.tables.iter().flat_map(|tables| tables.iter().cloned()).collect();
        if let Some(known) = tables.get_mut(table) {
            *known = content;
        }
        self.tables = Some(tables.into());
    }
}

/// The tables of a plan whose rows are in the document; nothing where a plan has no tables.
pub fn tables_of(plan: &Plan) -> Tables {
    let content = |table: &flowmeter_core::table::Table| match &table.origin {
        TableOrigin::Document(content) => Some(Arc::clone(content)),
        TableOrigin::File(_) | TableOrigin::Http(_) | TableOrigin::Postgres(_) | TableOrigin::Put => None,
    };
    (!plan.tables.is_empty()).then(|| plan.tables.iter().map(content).collect())
}
