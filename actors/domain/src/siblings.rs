//! Ordered list of node ids with fast access at any length.
//!
//! A project may have tens of thousands of nodes under one parent, and no command may cost more than the parts that it
//! changes. In a plain vector, finding a child and inserting in the middle would visit all children. This list is a row
//! of chunks. With more than one chunk, an index maps each id to its chunk. Every operation visits a few hundred ids at
//! most, whatever the length.
//!
//! Clones share the chunks. A clone that changes copies only the changed chunk.

use ecow::EcoVec;

use super::ids::NodeId;

/// Capacity of a chunk, in ids. Scanning 256 ids (4 KiB, one page) takes about as long as two lookups in the index, so
/// smaller chunks would gain nothing. 100,000 siblings take 400 to 800 chunks, and summing their lengths is equally
/// fast.
const CHUNK_IDS_MAX: usize = 256;

/// Ordered ids, each at most once.
#[derive(Clone, Default)]
pub struct Siblings {
    chunks: EcoVec<Chunk>,
    /// Chunk of each id. `Some` exactly if there is more than one chunk.
    index: Option<Box<Index>>,
}

type ChunkKey = u32;

#[derive(Clone, Default)]
struct Index {
    /// Key of the chunk that contains an id.
    chunk_keys: imbl::OrdMap<NodeId, ChunkKey>,
    next_key: ChunkKey,
}

#[derive(Clone)]
struct Chunk {
    key: ChunkKey,
    ids: EcoVec<NodeId>,
}

impl Siblings {
    /// Returns an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: EcoVec::new(),
            index: None,
        }
    }

    /// Returns the number of ids.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.index {
            // The index contains all ids of all chunks.
            Some(index) => index.chunk_keys.len(),
            None => self.ids_before(self.chunks.len()),
        }
    }

    /// Returns true if the list has no ids.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        // Chunks are never empty.
        self.chunks.is_empty()
    }

    /// Returns the ids in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = NodeId> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.ids.iter().copied())
    }

    /// Returns the id at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<NodeId> {
        let (chunk, offset) = self.locate(index)?;
        self.chunks[chunk].ids.get(offset).copied()
    }

    /// Returns the index of an id.
    #[must_use]
    pub fn position(&self, id: NodeId) -> Option<usize> {
        let (chunk, offset) = self.find(id)?;
        Some(self.ids_before(chunk) + offset)
    }

    /// Returns the ids directly before and directly after an id. `None` at an end of the list, and for an id that is
    /// not in the list.
    #[must_use]
    pub fn neighbours(&self, id: NodeId) -> (Option<NodeId>, Option<NodeId>) {
        let Some((chunk, offset)) = self.find(id) else {
            return (None, None);
        };
        // Chunks are never empty, so a neighbour outside the chunk is the last id of the preceding or the first of the
        // next chunk.
        let last_of = |chunk: &Chunk| chunk.ids.last().copied();
        let first_of = |chunk: &Chunk| chunk.ids.first().copied();
        let previous = match offset.checked_sub(1) {
            Some(offset) => Some(self.chunks[chunk].ids[offset]),
            None => chunk.checked_sub(1).and_then(|chunk| last_of(&self.chunks[chunk])),
        };
        let next = self.chunks[chunk].ids.get(offset + 1).copied();
        (previous, next.or_else(|| self.chunks.get(chunk + 1).and_then(first_of)))
    }

    /// Inserts an id that is not in the list. An index beyond the end appends the id.
    pub fn insert(&mut self, index: usize, id: NodeId) {
        debug_assert!(self.find(id).is_none(), "{id} is already in the list");
        let index = index.min(self.len());
        let chunk = if index == self.len() {
            self.append_chunk()
        } else {
            self.insertion_chunk(index)
        };
        let offset = index - self.ids_before(chunk);
        let Chunk { key, ids } = &mut self.chunks.make_mut()[chunk];
        ids.insert(offset, id);
        if let Some(index) = &mut self.index {
            index.chunk_keys.insert(id, *key);
        }
    }

    /// Appends an id that is not in the list.
    pub fn push(&mut self, id: NodeId) {
        self.insert(self.len(), id);
    }

    /// Removes an id and returns its index.
    pub fn remove(&mut self, id: NodeId) -> Option<usize> {
        let (chunk, offset) = self.find(id)?;
        let position = self.ids_before(chunk) + offset;
        self.chunks.make_mut()[chunk].ids.remove(offset);
        if let Some(index) = &mut self.index {
            index.chunk_keys.remove(&id);
        }
        self.rebalance(chunk);
        Some(position)
    }

    /// Returns the number of ids before a chunk.
    fn ids_before(&self, chunk: usize) -> usize {
        self.chunks[..chunk].iter().map(|chunk| chunk.ids.len()).sum()
    }

    /// Returns the chunk that contains an index, and the offset within the chunk.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for (at, chunk) in self.chunks.iter().enumerate() {
            if index < before + chunk.ids.len() {
                return Some((at, index - before));
            }
            before += chunk.ids.len();
        }
        None
    }

    fn find(&self, id: NodeId) -> Option<(usize, usize)> {
        let chunk = match &self.index {
            None => 0,
            Some(index) => {
                let key = *index.chunk_keys.get(&id)?;
                self.chunks.iter().position(|chunk| chunk.key == key)?
            }
        };
        let offset = self.chunks.get(chunk)?.ids.iter().position(|&other| other == id)?;
        Some((chunk, offset))
    }

    /// Returns the last chunk, or a new chunk if the last is full. Lists that only grow therefore have full chunks.
    fn append_chunk(&mut self) -> usize {
        if self.chunks.last().is_none_or(|last| last.ids.len() >= CHUNK_IDS_MAX) {
            self.add_chunk(self.chunks.len(), EcoVec::new());
        }
        self.chunks.len() - 1
    }

    /// Returns the chunk for an insertion at an index. A full chunk is split in halves.
    fn insertion_chunk(&mut self, index: usize) -> usize {
        let Some((chunk, offset)) = self.locate(index) else {
            return self.append_chunk();
        };
        if self.chunks[chunk].ids.len() < CHUNK_IDS_MAX {
            return chunk;
        }
        let ids = &mut self.chunks.make_mut()[chunk].ids;
        let upper = EcoVec::from(&ids[CHUNK_IDS_MAX / 2..]);
        ids.truncate(CHUNK_IDS_MAX / 2);
        self.add_chunk(chunk + 1, upper);
        if offset > CHUNK_IDS_MAX / 2 { chunk + 1 } else { chunk }
    }

    /// Inserts a chunk with a fresh key into the row. Creates the index with the second chunk.
    fn add_chunk(&mut self, at: usize, ids: EcoVec<NodeId>) {
        if self.chunks.is_empty() {
            // The default capacity is four chunks, and most lists need one.
            self.chunks = EcoVec::with_capacity(1);
        }
        if self.index.is_none() && self.chunks.len() == 1 {
            let mut index = Box::<Index>::default();
            index.add(&mut self.chunks.make_mut()[0]);
            self.index = Some(index);
        }
        let mut chunk = Chunk { key: 0, ids };
        if let Some(index) = &mut self.index {
            index.add(&mut chunk);
        }
        self.chunks.insert(at, chunk);
    }

    /// Restores the chunk sizes after a removal: drops an empty chunk, and merges a sparse chunk with the next one.
    /// Merges only up to half a chunk, so that alternating removals and insertions do not merge and split repeatedly.
    fn rebalance(&mut self, chunk: usize) {
        if self.chunks[chunk].ids.is_empty() {
            self.chunks.remove(chunk);
        } else if let Some(next) = self.chunks.get(chunk + 1)
            && self.chunks[chunk].ids.len() + next.ids.len() <= CHUNK_IDS_MAX / 2
        {
            let next = self.chunks.remove(chunk + 1);
            let Chunk { key, ids } = &mut self.chunks.make_mut()[chunk];
            ids.extend_from_slice(&next.ids);
            if let Some(index) = &mut self.index {
                index.chunk_keys.extend(next.ids.iter().map(|&id| (id, *key)));
            }
        }
        if self.chunks.len() <= 1 {
            self.index = None;
        }
    }
}

impl Index {
    /// Gives a chunk a fresh key and indexes its ids.
    fn add(&mut self, chunk: &mut Chunk) {
        chunk.key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.chunk_keys.extend(chunk.ids.iter().map(|&id| (id, chunk.key)));
    }
}

impl PartialEq for Siblings {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Siblings {}

impl std::fmt::Debug for Siblings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<NodeId> for Siblings {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> Self {
        let mut siblings = Self::default();
        for id in ids {
            siblings.push(id);
        }
        siblings
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(number: u32) -> NodeId {
        NodeId::new(Uuid::from_u128(u128::from(number)))
    }

    /// Compares the list with a plain vector, its reference model.
    fn check_against(siblings: &Siblings, model: &[NodeId]) -> Result<(), TestCaseError> {
        prop_assert_eq!(siblings.iter().collect::<Vec<_>>(), model);
        prop_assert_eq!(siblings.len(), model.len());
        for (index, &id) in model.iter().enumerate().step_by(97) {
            prop_assert_eq!(siblings.position(id), Some(index));
            prop_assert_eq!(siblings.get(index), Some(id));
            let previous = index.checked_sub(1).map(|index| model[index]);
            prop_assert_eq!(siblings.neighbours(id), (previous, model.get(index + 1).copied()));
        }
        prop_assert_eq!(siblings.get(model.len()), None);
        for pair in model.windows(2).step_by(CHUNK_IDS_MAX / 4 - 1) {
            prop_assert_eq!(siblings.neighbours(pair[0]).1, Some(pair[1]));
            prop_assert_eq!(siblings.neighbours(pair[1]).0, Some(pair[0]));
        }
        let sparse = siblings
            .chunks
            .windows(2)
            .filter(|two| two[0].ids.len() + two[1].ids.len() <= CHUNK_IDS_MAX / 4);
        prop_assert!(
            sparse.count() <= siblings.chunks.len() / 2 + 1,
            "sparse chunks are joined"
        );
        Ok(())
    }

    proptest! {
        /// Insertions and removals have the same results as on a vector, through splits and merges of chunks.
        #[test]
        fn siblings_behave_like_vector(start in 0_u32..1_500, steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..900)) {
            let mut model: Vec<NodeId> = (0..start).map(id).collect();
            let mut siblings: Siblings = model.iter().copied().collect();
            check_against(&siblings, &model)?;
            for (number, (insert, at)) in (start..).zip(steps) {
                if insert || model.is_empty() {
                    let at = at.index(model.len() + 1);
                    model.insert(at, id(number));
                    siblings.insert(at, id(number));
                } else {
                    let at = at.index(model.len());
                    let gone = model.remove(at);
                    prop_assert_eq!(siblings.remove(gone), Some(at));
                    prop_assert_eq!(siblings.position(gone), None);
                    prop_assert_eq!(siblings.neighbours(gone), (None, None));
                }
            }
            check_against(&siblings, &model)?;
            for &gone in &model {
                siblings.remove(gone);
            }
            prop_assert!(siblings.is_empty() && siblings.index.is_none() && siblings.chunks.is_empty());
        }
    }

    /// A full chunk is split correctly for an insertion at each of its places, the split point included.
    #[test]
    fn full_chunk_splits_for_insertion_at_each_index() {
        for at in 0..=CHUNK_IDS_MAX {
            let mut model: Vec<NodeId> = (0..256).map(id).collect();
            let mut siblings: Siblings = model.iter().copied().collect();
            model.insert(at, id(1_000));
            siblings.insert(at, id(1_000));
            assert_eq!(siblings.iter().collect::<Vec<_>>(), model, "{at}");
            assert_eq!(siblings.position(id(1_000)), Some(at));
        }
    }

    #[test]
    fn clone_is_unaffected_by_later_changes() {
        let mut siblings: Siblings = (0..600).map(id).collect();
        let before = siblings.clone();
        siblings.remove(id(300));
        siblings.insert(0, id(1_000));
        assert_eq!(before, (0..600).map(id).collect());
        assert_ne!(before, siblings);
    }
}
