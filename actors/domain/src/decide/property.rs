//! Commands that set and delete properties.

use ecow::EcoString;

use super::Decider;
use crate::{event::Event, ids::NodeId, ids::PropertyId, limits::LimitExceeded, rejection::Rejection, value::Value};

impl Decider<'_> {
    pub(super) fn update_property(
        &self,
        node_id: NodeId,
        reference: &EcoString,
        value: &Value,
    ) -> Result<Vec<Event>, Rejection> {
        let content = &self.require_node(node_id)?.content;
        let property = self.type_of(content).property(reference)?;
        let (before, after) = if property.is_name() {
            let name = property.check_name(value, self.limits())?;
            (Some(Value::Text(content.name.clone())), Value::Text(name))
        } else {
            let after = property.check(value, self)?;
            (content.properties.get(&property.id()).cloned(), after)
        };
        if before.as_ref() == Some(&after) {
            return Ok(Vec::new());
        }
        if before.is_none() {
            self.check_property_count(content.properties.len() + 1)?;
        }
        Ok(vec![Event::PropertyChanged {
            node_id,
            property: property.to_ref(),
            before,
            after,
            // A property that a command sets is known to the template.
            orphaned: false,
        }])
    }

    /// Decides the deletion of a property. A property that the template no longer contains can still be deleted.
    pub(super) fn delete_property(&self, node_id: NodeId, reference: &EcoString) -> Result<Vec<Event>, Rejection> {
        let content = &self.require_node(node_id)?.content;
        let not_found = || Rejection::PropertyNotFound {
            node_id,
            property: reference.clone(),
        };
        let property = self.type_of(content).property_or_orphan(reference);
        if property.is_name() {
            let expected = "a name: every node has one".into();
            return Err(Rejection::InvalidValue {
                property: PropertyId::NAME.into(),
                expected,
                found: "nothing".into(),
            });
        }
        let before = content.properties.get(&property.id()).cloned().ok_or_else(not_found)?;
        Ok(vec![Event::PropertyDeleted {
            node_id,
            property: property.to_ref(),
            before,
        }])
    }

    pub(super) fn check_property_count(&self, found: usize) -> Result<(), Rejection> {
        let max = self.limits().properties_per_node_max;
        let limit = "properties_per_node_max";
        if found > max {
            Err(LimitExceeded { limit, max, found }.into())
        } else {
            Ok(())
        }
    }
}
