//! The place of a record in its file: the line on which it begins, and which record of that line it is.
//!
//! The log and the event store have one number for both. The first record of a line has the number of
//! the line, so a place that was stored before lines could have several records is still the same.

use std::fmt;

use super::Block;

/// Marks the number of a record that is not the first of its line. It is not the sign bit, since the
/// column of the event store is signed.
const FURTHER: u64 = 1 << 62;

/// Bits of the index within the line: a JSON document of 1 GiB has fewer elements.
const INDEX_BITS: u32 = 29;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// The place of a record in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, counted from 1.
    pub line: u64,
    /// The number of records that begin on the same line before this one.
    pub index: u32,
}

impl Place {
    /// Returns the place of a number.
    pub fn of(number: u64) -> Place {
        match number & FURTHER {
            0 => Place { line: number, index: 0 },
            _ => Place { line: (number & !FURTHER) >> INDEX_BITS, index: (number & INDEX_MASK) as u32 },
        }
    }

    /// Returns the number of the place. Consecutive records of one line, from the second on, have
    /// consecutive numbers, as the first records of consecutive lines have.
    pub fn number(self) -> u64 {
        match self.index {
            0 => self.line,
            index => FURTHER | (self.line << INDEX_BITS) & (FURTHER - 1) | u64::from(index) & INDEX_MASK,
        }
    }
}

impl fmt::Display for Place {
    /// Writes the line; for a further record of a line, its ordinal behind a colon: `7:2` is the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => write!(f, "{}", self.line),
            index => write!(f, "{}:{}", self.line, u64::from(index) + 1),
        }
    }
}

/// Numbers the places of the records of a block, in their order.
#[derive(Clone, Debug)]
pub struct Places {
    first_line: u64,
    /// The line of the record before, relative to the first, and its index.
    last: Option<(u32, u32)>,
    first_index: u32,
}

impl Places {
    /// Returns the places of the records of a block in the file from which they come.
    pub fn of(block: &Block) -> Places {
        let first_line = block.origin_line.unwrap_or(block.first_line);
        Places { first_line, last: None, first_index: block.first_index }
    }

    /// Returns the number of the place of the next record, which is on this line of the block.
    pub fn next(&mut self, line: u32) -> u64 {
        let index = match self.last {
            None if line == 0 => self.first_index,
            Some((last, index)) if last == line => index + 1,
            _ => 0,
        };
        self.last = Some((line, index));
        // In a log, the first line is the number of a place already.
        let number = self.first_line + u64::from(line);
        if index == 0 { number } else { Place { line: number, index }.number() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_of_a_line_has_the_number_of_the_line() {
        for (line, index, shown) in
            [(1, 0, "1"), (7, 1, "7:2"), (7, 2, "7:3"), (5_000_000_000, (1 << 29) - 1, "5000000000:536870912")]
        {
            let place = Place { line, index };
            assert_eq!(Place::of(place.number()), place);
            assert_eq!(place.to_string(), shown);
            assert!(i64::try_from(place.number()).is_ok());
        }
        assert_eq!(Place { line: 7, index: 0 }.number(), 7);
        assert_eq!(Place { line: 7, index: 1 }.number() + 1, Place { line: 7, index: 2 }.number());
    }

    #[test]
    fn records_of_one_line_are_numbered_across_blocks() {
        let mut block = Block::default();
        (block.first_line, block.first_index) = (3, 2);
        let mut places = Places::of(&block);
        let shown: Vec<String> = [0, 0, 1, 2, 2].map(|line| Place::of(places.next(line)).to_string()).into();
        assert_eq!(shown, ["3:3", "3:4", "4", "5", "5:2"]);
    }
}
