//! The order of meters: by user, then by type, then by processor.
//!
//! A word next to each meter holds the part of the name in which users differ, so that sorting
//! seldom has to read the names themselves, which are scattered over memory.

use super::{Identities, MeterIx, Meters, Partition};

/// Bytes of the sort key next to a meter.
const KEY_BYTES: usize = size_of::<u64>();

impl<M: Meters, I: Identities> Partition<M, I> {
    /// Sorts meters by user, type and processor.
    pub(super) fn sort(&self, meters: &mut [MeterIx]) {
        let user = |ix: MeterIx| &*self.meters.get(ix).user;
        let Some((first, others)) = meters.split_first() else { return };
        // Names often have a common prefix.
        let first = user(*first);
        let alike = others.iter().fold(first.len(), |alike, ix| common(&first[..alike], user(*ix)));
        let mut keyed: Vec<(u64, MeterIx)> = meters.iter().map(|ix| (key(&user(*ix)[alike..]), *ix)).collect();
        keyed.sort_unstable_by(|(a, left), (b, right)| {
            a.cmp(b).then_with(|| {
                let order = |ix: MeterIx| {
                    let meter = self.meters.get(ix);
                    (&*meter.user, meter.meter_type, meter.processor, ix)
                };
                order(*left).cmp(&order(*right))
            })
        });
        meters.iter_mut().zip(keyed).for_each(|(place, (_, ix))| *place = ix);
    }
}

/// Returns the length of the common prefix.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Returns the first bytes as a number of the same order. Shorter names are padded with zeros, so
/// different names may have the same key.
fn key(name: &[u8]) -> u64 {
    let mut bytes = [0; KEY_BYTES];
    let length = name.len().min(KEY_BYTES);
    bytes[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_never_contradict_the_order_of_names(a in ".{0,20}", b in ".{0,20}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let alike = common(a, b);
            prop_assert_eq!(&a[..alike], &b[..alike]);
            let by_key = key(&a[alike..]).cmp(&key(&b[alike..]));
            prop_assert!(by_key.is_eq() || by_key == a.cmp(b), "{:?} {:?}", a, b);
        }

        #[test]
        fn zeros_at_the_end_are_not_invented(name in prop::collection::vec(0u8..2, 0..20), zeros in 0usize..4) {
            let longer = [&name[..], &vec![0; zeros][..]].concat();
            prop_assert!(key(&name) <= key(&longer));
        }
    }
}
