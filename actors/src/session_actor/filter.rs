//! A set of command ids that takes two bytes for each, and may claim to have one that it has not.
//!
//! It is a chain of Bloom filters, each four times as large as the one before: it grows with what is put in, and nothing
//! has to be read again for it. An id is looked for in all of them, with one hash.
//!
//! Ids are chosen by clients. The hash is keyed with a secret of the process, so that nobody can choose ids which the
//! filter takes for others.

use fastbloom::BloomFilter;

use crate::domain::ids::CommandId;

/// The first filter of a chain: 2,048 ids.
const FIRST_BYTES: usize = 4_096;

/// How much larger the next one is. Few filters are quick to look through; ones that grow faster stand half empty.
const GROWTH: usize = 4;

/// What an id takes. With 16 bits one in 2,000 ids is taken for one that a full filter has.
const BYTES_PER_ID: usize = 2;

/// How many times the ids that it is made for the last filter takes, when there is no room for another. At three times
/// it takes every third id for one that it has, and each further one costs more: little is left to be gained.
const OVERFULL: usize = 3;

/// See the [module](self).
pub(super) struct Filter {
    key: u128,
    bytes_max: usize,
    layers: Vec<Layer>,
}

struct Layer {
    bits: BloomFilter,
    ids: usize,
    ids_max: usize,
}

impl Layer {
    fn new(bytes: usize, key: u128) -> Self {
        let ids_max = bytes / BYTES_PER_ID;
        Self {
            bits: BloomFilter::with_num_bits(bytes * 8).seed(&key).expected_items(ids_max),
            ids: 0,
            ids_max,
        }
    }

    fn bytes(&self) -> usize {
        self.bits.num_bits() / 8
    }
}

impl Filter {
    /// An empty one, which takes no memory, and never more than `bytes_max`.
    pub(super) const fn new(key: u128, bytes_max: usize) -> Self {
        Self {
            key,
            bytes_max,
            layers: Vec::new(),
        }
    }

    /// Whether an id may have been put in. If not, it was not.
    pub(super) fn may_contain(&self, id: CommandId) -> bool {
        let Some(first) = self.layers.first() else {
            return false;
        };
        // All layers have the same key.
        let hash = first.bits.source_hash(id.uuid().as_bytes());
        self.layers.iter().any(|layer| layer.bits.contains_hash(hash))
    }

    /// Puts an id in.
    ///
    /// # Errors
    /// If it has as many as it is of any use with. The id is then not in it.
    pub(super) fn insert(&mut self, id: CommandId) -> Result<(), Full> {
        // Also if it is taken for another: it is found, whatever comes after it.
        if self.may_contain(id) {
            return Ok(());
        }
        let layer = self.layer_with_room().ok_or(Full)?;
        layer.bits.insert(id.uuid().as_bytes());
        layer.ids += 1;
        Ok(())
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }

    /// Takes everything out, and no memory any more.
    pub(super) fn clear(&mut self) {
        self.layers = Vec::new();
    }

    fn layer_with_room(&mut self) -> Option<&mut Layer> {
        let is_full = self.layers.last().is_none_or(|layer| layer.ids >= layer.ids_max);
        if is_full && let Some(bytes) = self.next_bytes() {
            self.layers.push(Layer::new(bytes, self.key));
        }
        let last = self.layers.last_mut()?;
        (last.ids < last.ids_max * OVERFULL).then_some(last)
    }

    /// The size of the next layer, if there is room for one. What would be left over and is less than that goes to it.
    fn next_bytes(&self) -> Option<usize> {
        let wanted = self.layers.last().map_or(FIRST_BYTES, |last| last.bytes() * GROWTH);
        // In words of the bits.
        let left = (self.bytes_max - self.bytes()) / 8 * 8;
        let bytes = if left < 2 * wanted { left } else { wanted };
        (bytes > 0).then_some(bytes)
    }
}

/// A filter has as many ids as it is of any use with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(number: u64) -> CommandId {
        // Ids as clients may choose them: one after the other.
        CommandId::new(Uuid::from_u64_pair(0, number))
    }

    /// How many of 10,000 ids that were never put in are said to be there.
    fn mistaken(filter: &Filter) -> usize {
        (0..10_000)
            .filter(|&number| filter.may_contain(id(u64::MAX - number)))
            .count()
    }

    proptest! {
        /// P4: what was put in is found, whatever the key, the room, the ids and their number. P9: it never takes more
        /// than it may.
        #[test]
        fn what_was_put_in_is_found(
            key: u128,
            bytes_max in 0_usize..8_000,
            ids in proptest::collection::vec(any::<u128>(), 0..300),
            close in 0_u64..3_000,
        ) {
            let mut filter = Filter::new(key, bytes_max);
            let ids: Vec<_> = ids.into_iter().map(|id| CommandId::new(Uuid::from_u128(id))).chain((0..close).map(id)).collect();
            let taken = ids.iter().take_while(|&&id| filter.insert(id).is_ok()).count();
            prop_assert!(filter.bytes() <= bytes_max);
            for id in &ids[..taken] {
                prop_assert!(filter.may_contain(*id));
            }
            let made_for = bytes_max / 8 * 8 / BYTES_PER_ID;
            prop_assert!(taken == ids.len() || taken >= made_for, "{} of {}", taken, ids.len());
        }
    }

    /// P9: an empty one takes nothing, a small one little, and each grows with its ids: ten bytes for each at most, beside
    /// the first step.
    #[test]
    fn it_grows_with_what_is_put_in() {
        let mut filter = Filter::new(7, 1_048_576);
        assert_eq!((filter.bytes(), mistaken(&filter)), (0, 0));
        for number in 1..=40_000_usize {
            filter.insert(id(number as u64)).expect("there is room");
            let bytes = filter.bytes();
            assert!(bytes <= FIRST_BYTES + 10 * number, "{bytes} for {number}");
        }
        filter.insert(id(1)).expect("there is room");
        assert_eq!(filter.bytes(), 86_016, "the same again takes nothing");
    }

    /// With as many ids as it is made for, one in two hundred is a mistake at most; with more ids more are, until it says
    /// that it is full.
    #[test]
    fn mistakes_are_rare_for_as_long_as_there_is_room() {
        let mut filter = Filter::new(7, 65_536);
        for number in 0..32_768 {
            filter.insert(id(number)).expect("there is room");
        }
        assert_eq!(filter.bytes(), 65_536);
        assert!(mistaken(&filter) < 50, "{} of 10,000", mistaken(&filter));
        for number in 32_768..45_000 {
            filter.insert(id(number)).expect("it takes more than it is made for");
        }
        assert!(mistaken(&filter) < 200, "{} of 10,000", mistaken(&filter));
        let full_at = (45_000..).find(|&number| filter.insert(id(number)).is_err());
        assert!(full_at.is_some_and(|ids| ids > 2 * 32_768), "{full_at:?}");
        assert!((2_000..4_500).contains(&mistaken(&filter)), "{}", mistaken(&filter));
        assert_eq!(filter.bytes(), 65_536);
    }

    /// Whoever knows which ids one filter mistakes knows nothing of another's: the key decides.
    #[test]
    fn mistakes_depend_on_the_key() {
        let full = |key| {
            let mut filter = Filter::new(key, FIRST_BYTES);
            (0..).take_while(|&number| filter.insert(id(number)).is_ok()).count();
            (0..10_000)
                .filter(|&number| filter.may_contain(id(u64::MAX - number)))
                .collect::<Vec<u64>>()
        };
        assert_eq!(full(1), full(1));
        assert_ne!(full(1), full(2));
    }

    /// Without room there is no filter.
    #[test]
    fn no_room_is_full_at_once() {
        for bytes_max in [0, 7] {
            let mut filter = Filter::new(7, bytes_max);
            assert_eq!((filter.insert(id(1)), filter.bytes()), (Err(Full), 0));
            assert!(!filter.may_contain(id(1)));
        }
    }
}
