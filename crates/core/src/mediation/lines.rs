//! Records of any format as lines of JSON: the form in which a server's log keeps what it reads from
//! files, objects, queries and topics.
//!
//! A line has every column of its record, with the types that the source declares, so the same rules
//! apply to it whatever the format was. A record that cannot be read keeps its place
//! ([`crate::event::unread`]).

use super::Decoder;
use crate::event::json::{Scanner, Tree, list_elements, write_on_one_line};
use crate::event::{Batch, Block, Kind, Path, Places, quote_into, unread};
use crate::plan::Plan;

/// Writes records as lines of JSON. Its caches change no result.
#[derive(Debug, Default)]
pub struct LineWriter {
    scanner: Scanner,
    batch: Batch,
}

impl LineWriter {
    /// Appends every record of a block as a line. Calls `each` with the number of the place of each
    /// record in its file ([`crate::event::Place`]).
    pub fn write(&mut self, plan: &Plan, decoder: &Decoder, block: &mut Block, out: &mut Vec<u8>, each: &mut dyn FnMut(u64)) {
        std::mem::swap(&mut self.batch.block, block);
        match decoder.is_json() {
            true => self.copy(out, each),
            false => self.convert(plan, decoder, out, each),
        }
        std::mem::swap(&mut self.batch.block, block);
    }

    /// Copies records that are JSON already.
    fn copy(&mut self, out: &mut Vec<u8>, each: &mut dyn FnMut(u64)) {
        let lists = self.batch.block.lists;
        let mut places = Places::of(&self.batch.block);
        for (line, text) in self.batch.records_as_cut() {
            let text = text.trim_ascii();
            match text.first() {
                Some(b'[') if lists => match list_elements(text) {
                    Some(elements) => elements.iter().for_each(|element| {
                        copy_one(element, out);
                        each(places.next(line));
                    }),
                    None => {
                        copy_one(text, out);
                        each(places.next(line));
                    }
                },
                Some(_) => {
                    copy_one(text, out);
                    each(places.next(line));
                }
                None => {}
            }
        }
    }

    /// Writes records of columns as objects.
    fn convert(&mut self, plan: &Plan, decoder: &Decoder, out: &mut Vec<u8>, each: &mut dyn FnMut(u64)) {
        let LineWriter { scanner, batch } = self;
        decoder.read(scanner, batch, plan.event_bytes_max);
        let named = (0u16..).zip(&plan.paths).filter(|(_, path)| !path.is_computed());
        let unnamed = (plan.paths.len() as u16..).zip(batch.unnamed.iter());
        let fields: Vec<(u16, &Path)> = named.chain(unnamed).collect();
        let is_flat = fields.iter().all(|(_, path)| path.names().len() == 1);
        let names: Vec<Vec<u8>> = fields.iter().map(|(_, path)| quoted(&path.names()[0])).collect();
        let mut faults = batch.faults.iter().peekable();
        let mut places = Places::of(&batch.block);
        for event in 0..batch.len() {
            match faults.next_if(|fault| fault.event as usize == event) {
                Some(fault) => unread::write(&fault.detail, batch.raw(event), out),
                None if is_flat => {
                    let slots = fields.iter().map(|(slot, _)| *slot);
                    write_flat(batch, event, slots.zip(&names), out);
                }
                None => write_nested(batch, event, &fields, out),
            }
            each(places.next(batch.record(event).line));
        }
    }
}

/// Copies a JSON text as one line.
fn copy_one(text: &[u8], out: &mut Vec<u8>) {
    match write_on_one_line(text, out) {
        true => out.push(b'\n'),
        false => unread::write("not a JSON object: a text in it has a line break or a zero byte", text, out),
    }
}

fn quoted(name: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(name.len() + 3);
    quote_into(name.as_bytes(), &mut quoted);
    quoted.push(b':');
    quoted
}

/// Writes a row whose columns are no objects.
fn write_flat<'n>(batch: &Batch, row: usize, fields: impl Iterator<Item = (u16, &'n Vec<u8>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    let from = out.len();
    for (slot, name) in fields {
        let leaf = batch.leaf(row, slot);
        if leaf.kind != Kind::Missing {
            if out.len() > from {
                out.push(b',');
            }
            out.extend_from_slice(name);
            leaf.write_json(out);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Writes a row of which some columns are fields of objects.
fn write_nested(batch: &Batch, row: usize, fields: &[(u16, &Path)], out: &mut Vec<u8>) {
    let mut tree = Tree::object();
    let mut value = Vec::new();
    for (slot, path) in fields {
        let leaf = batch.leaf(row, *slot);
        if leaf.kind != Kind::Missing {
            value.clear();
            leaf.write_json(&mut value);
            tree.set(path.names(), Some(&value));
        }
    }
    tree.write_to(out);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_spans_lines_is_not_made_valid() {
        let mut out = Vec::new();
        copy_one(b"{\n \"a\": 1\n}", &mut out);
        assert_eq!(out, b"{  \"a\": 1 }\n");
        out.clear();
        copy_one(b"{\"a\": \"x\ny\"}", &mut out);
        assert_eq!(out.first(), Some(&unread::MARK));
        assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1, "one line");
    }
}
