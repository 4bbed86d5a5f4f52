//! The hot tier: the newest cells, in one flat table.
//!
//! Every event adds a contribution here: it finds the numbers of meter type, user and tuple, and
//! changes one entry of 48 bytes. Known keys need no allocation.

use flowmeter_core::aggregation::{Aggregate, Aggregation, Contribution};
use flowmeter_core::decimal::{Decimal, Packed};
use hashbrown::HashTable;
use uuid::Uuid;

use super::amount::{Amount, Form};
use super::block::{self, Grain, Key, MINUTE};
use super::tuple::Tuples;
use super::words::Words;

/// The key of a cell, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    user: u32,
    tuple: u32,
    minute: i32,
    meter_type: u16,
    /// Zero, except for cells that were full: later usage of the key goes to a cell in the next
    /// layer.
    layer: u16,
}

/// The content of a cell in 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Tally {
    /// The number, or the index of a state that is more than a number.
    number: Packed,
    /// First event: nanoseconds since the minute began, in 36 bits; the count in the bits above.
    first_and_events: u64,
    /// Last event: nanoseconds since the minute began.
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    place: Place,
    tally: Tally,
}

const _: () = assert!(size_of::<Cell>() == 48);

const OFFSET_BITS: u32 = 36;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
/// Events of one cell; four million a second fit.
const EVENTS_MAX: u64 = (1 << (64 - OFFSET_BITS)) - 1;
/// Bytes of an entry with its mark in the table, plus half, because the table doubles by making a
/// new one beside the old.
const ENTRY_BYTES: usize = 49 * 3 / 2;
/// Layers of one key at which the hot tier counts as full. Only sums beyond 20 digits that cancel
/// each other need layers; a batch more of them still fits.
const LAYERS_MANY: u16 = 32;
/// The maximum number of meter types.
const TYPES_MAX: usize = 60_000;

/// A meter type of the hot tier.
#[derive(Clone, Copy, Debug)]
struct Type {
    meter_type: Uuid,
    form: Form,
    forgotten: bool,
}

pub(super) struct Hot {
    cells: HashTable<Cell>,
    cells_max: usize,
    users: Words,
    pub(super) tuples: Tuples,
    types: Vec<Type>,
    type_index: HashTable<u16>,
    last_type: u16,
    wide: Vec<Aggregate>,
    /// Approximate heap bytes of the wide states.
    wide_bytes: usize,
    text_bytes_max: usize,
    last_user: (u64, u32),
    /// Whether many cells were full.
    crowded: bool,
}

impl Hot {
    /// Two thirds of the memory are for cells, the rest for names and wide states.
    pub(super) fn new(memory_bytes: usize) -> Hot {
        let buckets = (memory_bytes * 2 / 3 / ENTRY_BYTES).max(16) + 1;
        let buckets = buckets.next_power_of_two() / 2;
        Hot {
            cells: HashTable::new(),
            // The table doubles at seven eighths: a batch fits in between.
            cells_max: buckets * 3 / 4,
            users: Words::default(),
            tuples: Tuples::default(),
            types: Vec::new(),
            type_index: HashTable::new(),
            last_type: 0,
            wide: Vec::new(),
            wide_bytes: 0,
            text_bytes_max: memory_bytes / 3,
            last_user: (0, u32::MAX),
            crowded: false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let texts = self.users.bytes() + self.tuples.bytes() + self.wide.len() * size_of::<Aggregate>() + self.wide_bytes;
        self.crowded || self.cells.len() >= self.cells_max || texts >= self.text_bytes_max || self.types.len() >= TYPES_MAX
    }

    /// Returns whether no visible cell exists.
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty() || self.types.iter().all(|known| known.forgotten)
    }

    #[inline]
    pub(super) fn add(
        &mut self,
        (meter_type, aggregation): (Uuid, Aggregation),
        (user, user_hash): (&[u8], u64),
        tuple: u32,
        contribution: &Contribution,
    ) {
        let form = Form::of(aggregation);
        let meter_type = self.type_ix(meter_type, form);
        let user = self.user_ix(user, user_hash);
        let minute = block::minute(contribution.at);
        let offset = contribution.at.nanos().rem_euclid(MINUTE) as u64;
        let mut place = Place { user, tuple, minute, meter_type, layer: 0 };
        loop {
            let hash = place.hash();
            let Some(cell) = self.cells.find_mut(hash, |cell| cell.place == place) else {
                return self.open(place, hash, form, offset, aggregation, contribution);
            };
            if form.is_wide() {
                let state = &mut self.wide[wide_ix(cell.tally.number)];
                self.wide_bytes += add_wide(state, aggregation, contribution);
                return cell.tally.note(offset);
            }
            if cell.tally.take(form, contribution.number, offset) || place.layer == u16::MAX {
                return;
            }
            place.layer += 1;
            self.crowded |= place.layer >= LAYERS_MANY;
        }
    }

    #[inline]
    fn type_ix(&mut self, meter_type: Uuid, form: Form) -> u16 {
        let is = |known: &Type| known.meter_type == meter_type && known.form == form && !known.forgotten;
        if self.types.get(usize::from(self.last_type)).is_some_and(is) {
            return self.last_type;
        }
        let types = &self.types;
        self.last_type = match self.type_index.find(hash_of(meter_type), |ix| is(&types[usize::from(*ix)])) {
            Some(ix) => *ix,
            None => self.add_type(meter_type, form),
        };
        self.last_type
    }

    #[cold]
    fn add_type(&mut self, meter_type: Uuid, form: Form) -> u16 {
        self.types.push(Type { meter_type, form, forgotten: false });
        let (ix, types) = (self.types.len() as u16 - 1, &self.types);
        self.type_index.insert_unique(hash_of(meter_type), ix, |ix| hash_of(types[usize::from(*ix)].meter_type));
        ix
    }

    #[inline]
    fn user_ix(&mut self, user: &[u8], hash: u64) -> u32 {
        let (last_hash, last) = self.last_user;
        if last != u32::MAX && last_hash == hash && self.users.texts().get(last) == user {
            return last;
        }
        let ix = self.users.intern_hashed(hash, user);
        self.last_user = (hash, ix);
        ix
    }

    #[cold]
    fn open(&mut self, place: Place, hash: u64, form: Form, offset: u64, aggregation: Aggregation, contribution: &Contribution) {
        let number = match form.is_wide() {
            true => {
                let mut state = Aggregate::initial(aggregation);
                self.wide_bytes += size_of::<Aggregate>() + add_wide(&mut state, aggregation, contribution);
                self.wide.push(state);
                wide_number(self.wide.len() - 1)
            }
            false => contribution.number.into(),
        };
        let tally = Tally { number, first_and_events: 1 << OFFSET_BITS | offset, last: offset };
        self.cells.insert_unique(hash, Cell { place, tally }, |cell| cell.place.hash());
    }

    /// Makes the cells of a meter type invisible.
    pub(super) fn forget(&mut self, meter_type: Uuid) {
        self.types.iter_mut().filter(|known| known.meter_type == meter_type).for_each(|known| known.forgotten = true);
    }

    /// Calls `tell` with the cells of a meter type within some minutes, in no order.
    pub(super) fn each<E>(
        &self,
        wanted: impl Fn(Uuid, Form) -> bool,
        minutes: std::ops::Range<i64>,
        mut tell: impl FnMut(Numbered) -> Result<(), E>,
    ) -> Result<(), E> {
        let wanted: Vec<bool> = self.types.iter().map(|known| !known.forgotten && wanted(known.meter_type, known.form)).collect();
        if !wanted.contains(&true) {
            return Ok(());
        }
        for cell in &self.cells {
            let Place { user, tuple, minute, meter_type, .. } = cell.place;
            if wanted[usize::from(meter_type)] && minutes.contains(&i64::from(minute)) {
                let amount = self.amount(cell);
                tell(Numbered { user, tuple, minute, amount })?;
            }
        }
        Ok(())
    }

    pub(super) fn users(&self) -> &Words {
        &self.users
    }

    /// Calls `tell` with all cells in the order of files.
    pub(super) fn each_sorted<E>(&self, mut tell: impl FnMut(&Key<'_>, &Amount) -> Result<(), E>) -> Result<(), E> {
        let (users, tuples) = (self.users.texts(), self.tuples.texts());
        let (user_ranks, tuple_ranks, type_ranks) = (users.ranks(), tuples.ranks(), self.type_ranks());
        let rank = |place: &Place| {
            // Type, minute, user, tuple, layer: their bits in the order of significance.
            let high = u64::from(type_ranks[usize::from(place.meter_type)]) << 32 | u64::from(place.minute as u32 ^ 1 << 31);
            let low = u64::from(user_ranks[place.user as usize]) << 32 | u64::from(tuple_ranks[place.tuple as usize]);
            u128::from(high) << 80 | u128::from(low) << 16 | u128::from(place.layer)
        };
        let visible = self.cells.iter().filter(|cell| !self.type_of(cell).forgotten);
        let mut cells: Vec<(u128, &Cell)> = visible.map(|cell| (rank(&cell.place), cell)).collect();
        cells.sort_unstable_by_key(|(rank, _)| *rank);
        for (_, cell) in cells {
            let known = self.type_of(cell);
            let key = Key {
                meter_type: known.meter_type,
                form: known.form,
                start: cell.place.minute,
                grain: Grain::Minute,
                user: users.get(cell.place.user),
                tuple: tuples.get(cell.place.tuple),
            };
            tell(&key, &self.amount(cell))?;
        }
        Ok(())
    }

    /// Returns the rank of each type in the order of ids and forms.
    fn type_ranks(&self) -> Vec<u16> {
        let mut order: Vec<u16> = (0..self.types.len() as u16).collect();
        let key = |ix: &u16| (self.types[usize::from(*ix)].meter_type, self.types[usize::from(*ix)].form);
        order.sort_unstable_by_key(key);
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, ix)| ranks[usize::from(*ix)] = rank as u16);
        ranks
    }

    fn type_of(&self, cell: &Cell) -> &Type {
        &self.types[usize::from(cell.place.meter_type)]
    }

    fn amount(&self, cell: &Cell) -> Amount {
        let form = self.type_of(cell).form;
        let since = |offset: u64| {
            let nanos = i128::from(cell.place.minute) * i128::from(MINUTE) + i128::from(offset);
            flowmeter_core::time::Timestamp::from_nanos(nanos as i64)
        };
        let tally = &cell.tally;
        let (first, last) = (since(tally.first_and_events & OFFSET_MASK), since(tally.last));
        let events = tally.first_and_events >> OFFSET_BITS;
        let aggregate = match form.is_wide() {
            true => self.wide[wide_ix(tally.number)].clone(),
            false => form.aggregate(tally.number.into(), events, last),
        };
        Amount { aggregate, events, first, last }
    }

    /// Removes all cells and names. Keeps the memory, unless the table is far too wide: few cells
    /// scattered over much memory are slow to reach.
    pub(super) fn clear(&mut self) {
        let used = self.cells.len().max(1_000);
        self.cells.clear();
        if self.cells.capacity() > used * 8 {
            self.cells.shrink_to(used * 2, |cell| cell.place.hash());
        }
        self.users.clear();
        self.tuples.clear();
        self.types.clear();
        self.wide.clear();
        self.wide_bytes = 0;
        self.type_index.clear();
        self.last_user = (0, u32::MAX);
        self.crowded = false;
    }
}

/// A cell of the hot tier, for a query.
pub(super) struct Numbered {
    pub(super) user: u32,
    pub(super) tuple: u32,
    pub(super) minute: i32,
    pub(super) amount: Amount,
}

impl Place {
    /// Folds a product of 128 bits: every bit of the place affects every bit of it.
    #[inline]
    fn hash(&self) -> u64 {
        let low = u64::from(self.user) | u64::from(self.tuple) << 32;
        let high = u64::from(self.minute as u32) | u64::from(self.meter_type) << 32 | u64::from(self.layer) << 48;
        let product = u128::from(low ^ 0x2d35_8dcc_aa6c_78a5) * u128::from(high ^ 0x8bb8_4b93_962e_acc9);
        (product as u64) ^ (product >> 64) as u64
    }
}

impl Tally {
    /// Adds a number, if it and one more event fit.
    #[inline]
    fn take(&mut self, form: Form, number: Decimal, offset: u64) -> bool {
        if self.first_and_events >> OFFSET_BITS == EVENTS_MAX {
            return false;
        }
        let known = Decimal::from(self.number);
        match form {
            Form::Sum | Form::Mean => match known.add(number) {
                Some(sum) => self.number = sum.into(),
                None => return false,
            },
            Form::Min if number < known => self.number = number.into(),
            Form::Max if number > known => self.number = number.into(),
            Form::Latest if offset >= self.last => self.number = number.into(),
            _ => {}
        }
        self.note(offset);
        true
    }

    #[inline]
    fn note(&mut self, offset: u64) {
        let first = (self.first_and_events & OFFSET_MASK).min(offset);
        let events = (self.first_and_events >> OFFSET_BITS).saturating_add(1).min(EVENTS_MAX);
        self.first_and_events = events << OFFSET_BITS | first;
        self.last = self.last.max(offset);
    }
}

#[inline]
fn hash_of(meter_type: Uuid) -> u64 {
    let (high, low) = meter_type.as_u64_pair();
    (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn wide_number(ix: usize) -> Packed {
    Decimal::from_units(ix as i128).unwrap_or_default().into()
}

fn wide_ix(number: Packed) -> usize {
    Decimal::from(number).units() as usize
}

/// Adds to a state that is more than a number, and returns by about how many bytes it grew.
fn add_wide(state: &mut Aggregate, aggregation: Aggregation, contribution: &Contribution) -> usize {
    let length = |state: &Aggregate| match state {
        Aggregate::Distinct(seen) => seen.len() * 36,
        Aggregate::Values(values) => values.len() * 32,
        _ => 0,
    };
    let before = length(state);
    state.add(aggregation, contribution);
    length(state) - before
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowmeter_core::time::Timestamp;

    #[test]
    fn the_table_keeps_to_its_share_of_the_memory() {
        for memory_bytes in [100_000, 1 << 20, 3 << 20] {
            let mut hot = Hot::new(memory_bytes);
            let (mut n, mut largest) = (0u64, 0);
            while !hot.is_full() {
                // A batch, as it arrives between two checks of the memory.
                for _ in 0..memory_bytes / 1_000 {
                    let contribution =
                        Contribution { number: Decimal::ONE, fingerprint: 0, at: Timestamp::from_nanos(n as i64 * MINUTE) };
                    hot.add((Uuid::nil(), Aggregation::Sum), (b"user", 1), 0, &contribution);
                    n += 1;
                }
                largest = largest.max(hot.cells.allocation_size());
            }
            // While the table grows, the old one of half the size still exists.
            assert!(largest * 3 / 2 <= memory_bytes * 2 / 3 + 4_096, "{largest} of {memory_bytes}");
            assert!(n as usize > memory_bytes / 400, "{n} cells in {memory_bytes}");
        }
    }
}
