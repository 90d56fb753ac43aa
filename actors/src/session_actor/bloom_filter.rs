//! Growable Bloom filter of command ids with two bytes per id. May report an id that was never inserted, never the
//! reverse.
//!
//! The filter is a chain of Bloom filters, each four times as large as the previous one. Growing needs no rehash of the
//! inserted ids. A query tests all filters with one hash.
//!
//! Clients choose the ids. The hash is keyed with a secret of the process, so a client cannot construct collisions.

use fastbloom::BloomFilter;

use crate::domain::ids::CommandId;

/// Size of the first filter of the chain in bytes: 2,048 ids.
const FIRST_BYTES: usize = 4_096;

/// Growth factor from a filter to the next. A smaller factor means more filters to test; a larger factor leaves the
/// last filter emptier.
const GROWTH: usize = 4;

/// Bytes per id. With 16 bits per id a full filter has a false-positive rate of 1 in 2,000.
const BYTES_PER_ID: usize = 2;

/// Overfill factor of the last filter once the memory limit is reached: the filter takes this multiple of the ids that
/// it is designed for. At a factor of 3 the false-positive rate is one third, and each further id gains little.
const OVERFILL: usize = 3;

/// Growable Bloom filter; see the [module](self).
pub(super) struct GrowableBloomFilter {
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

impl GrowableBloomFilter {
    /// Creates an empty filter. An empty filter takes no memory; a filter never takes more than `bytes_max`.
    pub(super) const fn new(key: u128, bytes_max: usize) -> Self {
        Self {
            key,
            bytes_max,
            layers: Vec::new(),
        }
    }

    /// Returns false if `id` was certainly not inserted.
    pub(super) fn may_contain(&self, id: CommandId) -> bool {
        let Some(first) = self.layers.first() else {
            return false;
        };
        // All layers share the key, so one hash serves all.
        let hash = first.bits.source_hash(id.uuid().as_bytes());
        self.layers.iter().any(|layer| layer.bits.contains_hash(hash))
    }

    /// Inserts an id.
    ///
    /// # Errors
    /// If the filter holds as many ids as it usefully can. The id is then not inserted.
    pub(super) fn insert(&mut self, id: CommandId) -> Result<(), Full> {
        // A false positive needs no insertion: the filter reports the id from now on, whatever is inserted later.
        if self.may_contain(id) {
            return Ok(());
        }
        let layer = self.layer_with_room().ok_or(Full)?;
        layer.bits.insert(id.uuid().as_bytes());
        layer.ids += 1;
        Ok(())
    }

    /// Returns the memory of the filters in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }

    /// Removes all ids and frees the memory.
    pub(super) fn clear(&mut self) {
        self.layers = Vec::new();
    }

    fn layer_with_room(&mut self) -> Option<&mut Layer> {
        let is_full = self.layers.last().is_none_or(|layer| layer.ids >= layer.ids_max);
        if is_full && let Some(bytes) = self.next_bytes() {
            self.layers.push(Layer::new(bytes, self.key));
        }
        let last = self.layers.last_mut()?;
        (last.ids < last.ids_max * OVERFILL).then_some(last)
    }

    /// Returns the size of the next layer in bytes; `None` at the memory limit. A remainder below the size of another
    /// layer is added to this layer.
    fn next_bytes(&self) -> Option<usize> {
        let wanted = self.layers.last().map_or(FIRST_BYTES, |last| last.bytes() * GROWTH);
        // Rounded down to 8 bytes, the word size of the bits.
        let left = (self.bytes_max - self.bytes()) / 8 * 8;
        let bytes = if left < 2 * wanted { left } else { wanted };
        (bytes > 0).then_some(bytes)
    }
}

/// Error of an insertion: the filter is at its capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(number: u64) -> CommandId {
        // Sequential ids, as a client may choose them.
        CommandId::new(Uuid::from_u64_pair(0, number))
    }

    /// Returns the number of false positives among 10,000 ids that were never inserted.
    fn false_positives(filter: &GrowableBloomFilter) -> usize {
        (0..10_000)
            .filter(|&number| filter.may_contain(id(u64::MAX - number)))
            .count()
    }

    proptest! {
        /// P4: an inserted id is found, for any key, memory limit, ids and number of ids. P9: the memory never exceeds
        /// its limit.
        #[test]
        fn inserted_ids_are_found(
            key: u128,
            bytes_max in 0_usize..8_000,
            ids in proptest::collection::vec(any::<u128>(), 0..300),
            close in 0_u64..3_000,
        ) {
            let mut filter = GrowableBloomFilter::new(key, bytes_max);
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

    /// P9: an empty filter takes no memory, and the memory grows with the ids: at most ten bytes per id beyond the
    /// first layer.
    #[test]
    fn filter_grows_with_its_ids() {
        let mut filter = GrowableBloomFilter::new(7, 1_048_576);
        assert_eq!((filter.bytes(), false_positives(&filter)), (0, 0));
        for number in 1..=40_000_usize {
            filter.insert(id(number as u64)).expect("there is room");
            let bytes = filter.bytes();
            assert!(bytes <= FIRST_BYTES + 10 * number, "{bytes} for {number}");
        }
        filter.insert(id(1)).expect("there is room");
        assert_eq!(filter.bytes(), 86_016, "a repeated id takes no memory");
    }

    /// At the designed number of ids at most 1 in 200 is a false positive. The rate rises with further ids until the
    /// filter is full.
    #[test]
    fn false_positives_are_rare_below_capacity() {
        let mut filter = GrowableBloomFilter::new(7, 65_536);
        for number in 0..32_768 {
            filter.insert(id(number)).expect("there is room");
        }
        assert_eq!(filter.bytes(), 65_536);
        assert!(false_positives(&filter) < 50, "{} of 10,000", false_positives(&filter));
        for number in 32_768..45_000 {
            filter.insert(id(number)).expect("overfilling is allowed");
        }
        assert!(false_positives(&filter) < 200, "{} of 10,000", false_positives(&filter));
        let full_at = (45_000..).find(|&number| filter.insert(id(number)).is_err());
        assert!(full_at.is_some_and(|ids| ids > 2 * 32_768), "{full_at:?}");
        assert!(
            (2_000..4_500).contains(&false_positives(&filter)),
            "{}",
            false_positives(&filter)
        );
        assert_eq!(filter.bytes(), 65_536);
    }

    /// The key decides about false positives: those of one filter say nothing about another.
    #[test]
    fn false_positives_depend_on_the_key() {
        let full = |key| {
            let mut filter = GrowableBloomFilter::new(key, FIRST_BYTES);
            (0..).take_while(|&number| filter.insert(id(number)).is_ok()).count();
            (0..10_000)
                .filter(|&number| filter.may_contain(id(u64::MAX - number)))
                .collect::<Vec<u64>>()
        };
        assert_eq!(full(1), full(1));
        assert_ne!(full(1), full(2));
    }

    /// A memory limit below one word allows no filter.
    #[test]
    fn filter_without_memory_is_full_at_once() {
        for bytes_max in [0, 7] {
            let mut filter = GrowableBloomFilter::new(7, bytes_max);
            assert_eq!((filter.insert(id(1)), filter.bytes()), (Err(Full), 0));
            assert!(!filter.may_contain(id(1)));
        }
    }
}
