//! The fields that events of a source must bring, checked against the columns of a file.

use super::{Plan, Read, Reader};
use crate::event::Path;
use crate::suggest::nearest;

impl Plan {
    /// The fields that events of a source must bring, each once.
    pub fn required_of(&self, source: usize) -> Vec<u16> {
        let mut reached = vec![false; self.nodes.len()];
        let mut waiting = self.entries.get(source).cloned().unwrap_or_default();
        while let Some(node) = waiting.pop() {
            if !std::mem::replace(&mut reached[usize::from(node)], true) {
                waiting.extend(self.nodes[usize::from(node)].outputs.iter().flatten());
            }
        }
        let is_needed = |read: &&Read| match read.by {
            Reader::Source(by) => by == source,
            Reader::Node(node) => reached[usize::from(node)],
        };
        let optional = self.sources.get(source).map_or(&[][..], |source| source.optional.as_slice());
        let mut slots: Vec<u16> = self.reads.iter().filter(is_needed).map(|read| read.slot).collect();
        slots.retain(|slot| !optional.iter().any(|name| self.paths[usize::from(*slot)].is_named(name)));
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Checks that a file of a source has the columns that the pipeline reads.
    ///
    /// # Errors
    /// Which it lacks, which it has, and which was probably meant.
    pub fn check_columns(&self, source: usize, columns: &[&str], has: &dyn Fn(&Path) -> bool) -> Result<(), String> {
        let missing: Vec<&Path> =
            self.required_of(source).iter().map(|slot| &self.paths[usize::from(*slot)]).filter(|path| !has(path)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let name = |path: &&Path| match nearest(path.as_str(), columns.iter().copied()) {
            Some(near) => format!("`{path}` (did you mean `{near}`?)"),
            None => format!("`{path}`"),
        };
        let names: Vec<String> = missing.iter().map(name).collect();
        Err(format!(
            "the pipeline reads {}, and the file has no such column; it has {}. Correct the name, or list a column that \
             may be missing in `optional` of the source",
            names.join(", "),
            columns.join(", ")
        ))
    }
}
