//! How high nodes stand above their deepest descendants.

use ecow::EcoVec;

/// How many children have which height: tells a node's own height without looking at its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heights(EcoVec<u32>);

impl Heights {
    /// The node's own height: one more than that of its highest child.
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
