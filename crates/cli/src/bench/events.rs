//! Events for the load generator: a template of lines whose ids, users, times and values are
//! overwritten in place, so that making them costs little compared with receiving them.

use flowmeter_core::time::Timestamp;

use crate::args::BenchIngest;
use crate::clock;

/// The line with the largest numbers that fit into its places.
const LINE: &str = "{\"specversion\":\"1.0\",\"id\":\"0000000000000000-bench-0000-0000-000000000000\",\"source\":\"/bench/ingest\",\"type\":\"type-0\",\"subject\":\"customer-00000000\",\"time\":\"2026-01-01T00:00:00.000Z\",\"data\":{\"value\":00000.0000,\"region\":\"eu-north-1\",\"model\":\"m-large\"}}\n";

/// Lines whose places are overwritten.
pub(super) struct Events {
    lines: Vec<u8>,
    batch: u64,
    users: u64,
    types: u64,
    late_percent: u64,
    places: Places,
}

#[derive(Clone, Copy)]
struct Places {
    id: usize,
    kind: usize,
    subject: usize,
    time: usize,
    value: usize,
}

impl Events {
    pub(super) fn new(bench: &BenchIngest) -> Events {
        let at = |mark: &str, behind: usize| LINE.find(mark).map_or(0, |at| at + mark.len() + behind);
        Events {
            lines: LINE.repeat(bench.batch as usize).into_bytes(),
            batch: u64::from(bench.batch),
            users: bench.users.max(1),
            types: bench.types.clamp(1, 10),
            late_percent: bench.late_percent,
            places: Places {
                id: at("\"id\":\"", 0),
                kind: at("\"type-", 0),
                subject: at("customer-", 0),
                time: at("\"time\":\"", 0),
                value: at("\"value\":", 0),
            },
        }
    }

    /// Returns the body of a request, by its number.
    pub(super) fn body(&mut self, request: u64) -> &[u8] {
        let now = clock::now();
        let mut late = Vec::with_capacity(24);
        now.saturating_sub(40 * 86_400_000_000_000).write_millis(&mut late);
        let mut time = Vec::with_capacity(24);
        Timestamp::write_millis(now, &mut time);
        for (place, line) in self.lines.chunks_exact_mut(LINE.len()).enumerate() {
            let number = request * self.batch + place as u64;
            let mixed = mix(number);
            hex(&mut line[self.places.id..self.places.id + 16], number);
            line[self.places.kind] = b'0' + (mixed >> 56) as u8 % self.types as u8;
            digits(&mut line[self.places.subject..self.places.subject + 8], mixed % self.users);
            let is_late = mixed / self.users % 100 < self.late_percent;
            line[self.places.time..self.places.time + 24].copy_from_slice(if is_late { &late } else { &time });
            // The first digit is not 0: JSON allows no leading zeros.
            digits(&mut line[self.places.value..self.places.value + 5], 10_000 + mixed % 90_000);
            digits(&mut line[self.places.value + 6..self.places.value + 10], mixed >> 20 & 0x1fff);
        }
        &self.lines
    }
}

/// Scatters numbers with the last step of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn hex(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}
