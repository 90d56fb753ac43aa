//! Height of a node above its deepest descendant.

use ecow::EcoVec;

/// Number of children by height, at index `height - 1`. The node's own height follows without a visit of the children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heights(EcoVec<u32>);

impl Heights {
    /// Returns the node's height, in levels: one more than the greatest height of a child.
    pub(super) const fn height(&self) -> usize {
        self.0.len() + 1
    }

    pub(super) fn add(&mut self, height: usize) {
        while self.0.len() < height {
            self.0.push(0);
        }
        self.0.make_mut()[height - 1] += 1;
    }

    pub(super) fn remove(&mut self, height: usize) {
        if let Some(count) = self.0.make_mut().get_mut(height - 1) {
            *count = count.saturating_sub(1);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}
