//! Commands that create and delete nodes.

use super::Decider;
use crate::{
    command::CreateNode, content::NodeContent, event::Event, graph::WalkEvent, ids::NodeId, limits::LimitExceeded,
    properties::Properties, rejection::Rejection, value::Value,
};

impl Decider<'_> {
    pub(super) fn create(&self, create: &CreateNode, generated_ids: &mut u32) -> Result<Vec<Event>, Rejection> {
        let node_type = self.node_type(&create.node_type)?;
        let node_id = self.new_node_id(create.node_id, generated_ids)?;
        let parent = create.parent_id.map(|id| self.require_node(id)).transpose()?;
        if let Some(parent) = parent {
            self.check_child(&parent.content.type_id, &node_type.id)?;
        }
        self.check_depth(create.parent_id, 1)?;
        self.check_node_count(self.graph().len() + 1)?;
        let index = self.resolve_index(create.parent_id, create.index, 0)?;
        let mut given_name = None;
        let mut given = Properties::new();
        for (reference, value) in &create.properties {
            let property = node_type.property(reference)?;
            if property.is_name() {
                given_name = Some(property.check_name(value, self.limits())?);
                continue;
            }
            let checked = property.check(value, self)?;
            if given.insert(property.id(), checked).is_some() {
                let reason = format!("property {reference:?} is given twice, by slug and by id");
                return Err(Rejection::InvalidRequest {
                    field: "properties",
                    reason: reason.into(),
                });
            }
        }
        let defaults = node_type.defaults();
        let properties = if given.is_empty() {
            defaults
        } else {
            defaults.into_iter().chain(given).collect()
        };
        self.check_property_count(properties.len())?;
        let name = match (&create.name, given_name) {
            (Some(name), _) => self.check_name("name", &Value::Text(name.clone()))?,
            (None, Some(name)) => name,
            (None, None) => CreateNode::DEFAULT_NAME.into(),
        };
        let content = NodeContent {
            name,
            type_id: node_type.id,
            properties,
            metadata: None,
        };
        Ok(vec![Event::NodeCreated {
            node_id,
            parent_id: create.parent_id,
            index,
            content,
        }])
    }

    pub(super) fn check_node_count(&self, found: usize) -> Result<(), Rejection> {
        let max = self.limits().nodes_max;
        let limit = "nodes_per_session_max";
        if found > max {
            Err(LimitExceeded { limit, max, found }.into())
        } else {
            Ok(())
        }
    }

    /// Returns the id that the client chose, or else the next id derived from the command's id.
    fn new_node_id(&self, chosen: Option<NodeId>, generated_ids: &mut u32) -> Result<NodeId, Rejection> {
        let node_id = chosen.unwrap_or_else(|| {
            let id = self.command_id.node(*generated_ids);
            *generated_ids += 1;
            id
        });
        if self.graph().contains(node_id) {
            Err(Rejection::NodeExists(node_id))
        } else {
            Ok(node_id)
        }
    }

    /// Deletes a subtree with children before parents and the last sibling first. This is the exact reverse of document
    /// order, so an undo creates the nodes in document order, each at the end of its siblings.
    pub(super) fn delete(&self, node_id: NodeId) -> Result<Vec<Event>, Rejection> {
        let top = self.require_node(node_id)?;
        let mut events = Vec::new();
        let mut next_index = vec![self.graph().position(node_id).unwrap_or_default()];
        for step in self.graph().walk(Some(node_id)) {
            match step {
                WalkEvent::Enter(id, node) => {
                    let index = next_index
                        .last_mut()
                        .map_or(0, |next| std::mem::replace(next, *next + 1));
                    let parent_id = if id == node_id { top.parent() } else { node.parent() };
                    let content = node.content.clone();
                    events.push(Event::NodeDeleted {
                        node_id: id,
                        parent_id,
                        index,
                        content,
                    });
                    next_index.push(0);
                }
                WalkEvent::Leave(..) => {
                    next_index.pop();
                }
            }
        }
        events.reverse();
        Ok(events)
    }
}
