//! Properties of a node.

use std::fmt;

use ecow::EcoVec;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::{ids::PropertyId, value::Value};

/// Properties of a node in the order of their ids, without the name.
///
/// Stored as a single sorted vector with copy-on-write: the event that created a node and the node itself share the
/// vector until either changes. Setting a property shifts the properties after it, bounded by the limit of properties
/// per node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(EcoVec<(PropertyId, Value)>);

impl Properties {
    /// Returns an empty list of properties.
    #[must_use]
    pub const fn new() -> Self {
        Self(EcoVec::new())
    }

    /// Returns the number of properties.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no properties.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a property, if it is set.
    #[must_use]
    pub fn get(&self, id: &PropertyId) -> Option<&Value> {
        self.find(id).ok().map(|at| &self.0[at].1)
    }

    /// Sets a property and returns the previous value.
    pub fn insert(&mut self, id: PropertyId, value: Value) -> Option<Value> {
        match self.find(&id) {
            Ok(at) => Some(std::mem::replace(&mut self.0.make_mut()[at].1, value)),
            Err(at) => {
                self.0.insert(at, (id, value));
                None
            }
        }
    }

    /// Deletes a property and returns its value.
    pub fn remove(&mut self, id: &PropertyId) -> Option<Value> {
        let at = self.find(id).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Returns the properties in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PropertyId, &Value)> {
        self.0.iter().map(|(id, value)| (id, value))
    }

    /// Returns the ids in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &PropertyId> {
        self.0.iter().map(|(id, _)| id)
    }

    /// Visits each id mutably, for replacement by an equal id.
    pub(super) fn each_id_mut(&mut self, mut each: impl FnMut(&mut PropertyId)) {
        self.0.make_mut().iter_mut().for_each(|(id, _)| each(id));
    }

    fn find(&self, id: &PropertyId) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.cmp(id))
    }
}

/// Collects properties. The last of several values for one property counts, as in a map.
impl FromIterator<(PropertyId, Value)> for Properties {
    fn from_iter<I: IntoIterator<Item = (PropertyId, Value)>>(properties: I) -> Self {
        let mut list: Vec<_> = properties.into_iter().collect();
        if !list.is_sorted_by(|(one, _), (next, _)| one < next) {
            list.sort_by(|(one, _), (other, _)| one.cmp(other));
            list.dedup_by(|(next, value), (one, kept)| {
                let is_same = one == next;
                if is_same {
                    std::mem::swap(kept, value);
                }
                is_same
            });
        }
        // The conversion allocates no spare capacity.
        Self(list.into())
    }
}

impl<const N: usize> From<[(PropertyId, Value); N]> for Properties {
    fn from(properties: [(PropertyId, Value); N]) -> Self {
        properties.into_iter().collect()
    }
}

impl IntoIterator for Properties {
    type Item = (PropertyId, Value);
    type IntoIter = ecow::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Properties;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Properties, A::Error> {
                std::iter::from_fn(|| entries.next_entry().transpose()).collect()
            }
        }
        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::value::Number;

    fn entries() -> impl Strategy<Value = Vec<(PropertyId, Value)>> {
        let entry = ("[a-e]{1,2}", 0_i64..5);
        let entry = entry.prop_map(|(id, number)| (PropertyId::new(id), Value::Number(Number::Int(number))));
        prop::collection::vec(entry, 0..12)
    }

    fn map(properties: &Properties) -> BTreeMap<PropertyId, Value> {
        let pairs = properties.iter();
        pairs.map(|(id, value)| (id.clone(), value.clone())).collect()
    }

    proptest! {
        /// Properties behave like a `BTreeMap`, and changes do not affect clones.
        #[test]
        fn properties_behave_like_map(first in entries(), then in entries(), without in entries()) {
            let mut properties: Properties = first.iter().cloned().collect();
            let mut reference: BTreeMap<_, _> = first.into_iter().collect();
            prop_assert_eq!(&map(&properties), &reference);
            prop_assert!(properties.keys().is_sorted());
            let (before, reference_before) = (properties.clone(), reference.clone());
            for (id, value) in then {
                prop_assert_eq!(properties.insert(id.clone(), value.clone()), reference.insert(id, value));
            }
            for (id, _) in without {
                prop_assert_eq!(properties.get(&id), reference.get(&id));
                prop_assert_eq!(properties.remove(&id), reference.remove(&id));
            }
            prop_assert_eq!(&map(&properties), &reference);
            prop_assert_eq!(properties.len(), reference.len());
            prop_assert_eq!(map(&before), reference_before);
            let text = serde_json::to_string(&properties).expect("JSON");
            prop_assert_eq!(&text, &serde_json::to_string(&reference).expect("JSON"));
            prop_assert_eq!(serde_json::from_str::<Properties>(&text).expect("the same"), properties);
        }
    }

    #[test]
    fn properties_clone_shares_storage() {
        let properties = Properties::from([(PropertyId::new("color"), Value::text("red"))]);
        assert!(std::ptr::eq(properties.0.as_ptr(), properties.clone().0.as_ptr()));
    }
}
