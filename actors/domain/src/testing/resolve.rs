//! Resolution of choices to commands on the present graph.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use proptest::sample::Index;
use uuid::Uuid;

use super::{
    harness::{Harness, Sent},
    plan::{Choice, Edit, NewId, Pick, Place, PropertyPick, TypePick, ValuePick, Which},
};
use crate::{
    blueprint::{Blueprint, NodeType, PropertyKind},
    command::{Command, Context, CreateNode, Scope},
    content::NodeContent,
    document::Document,
    graph::{Graph, Node},
    ids::{CommandId, NodeId, PropertyId, Seq, TypeId},
    properties::Properties,
    session::{Rules, Session},
    siblings::Siblings,
    value::{Number, Value},
};

impl Choice {
    /// Returns the command and the context that the choice stands for on the present session.
    #[must_use]
    pub fn resolve(&self, harness: &Harness) -> Sent {
        let session = harness.session();
        let context = harness.next_context();
        let resolver = Resolver::new(session.document(), session.rules());
        let command = match self {
            Self::Edit(edit) => resolver.command(edit),
            Self::Batch { edits, keep_refused } => batch(session, context.command_id, edits, *keep_refused),
            Self::Undo => Command::undo(Scope::Session),
            Self::Redo { insist } if *insist || session.history().next_redo().is_some() => {
                Command::redo(Scope::Session)
            }
            Self::Redo { .. } => Command::undo(Scope::Session),
            Self::Save(ago) => Command::SaveProject {
                file: "demo.json".into(),
                through: at(session.seq(), *ago),
            },
            Self::Load { document, keep_extras } => Command::LoadGraph {
                graph: document.graph.clone(),
                extras: (!keep_extras).then(|| Arc::clone(&document.extras)),
                // A document with extras of its own comes from a file.
                from_file: !keep_extras,
                template_id: None,
            },
            Self::Resend(which) => match choose(harness.accepted(), *which) {
                Some(sent) => return sent.clone(),
                None => Command::redo(Scope::Session),
            },
            Self::Reuse(which, edit) => {
                let command = resolver.command(edit);
                let used = choose(harness.accepted(), *which);
                let command_id = used.map_or(context.command_id, |sent| sent.context.command_id);
                let context = Context { command_id, ..context };
                return Sent { command, context };
            }
            Self::Expecting(seq, edit) => {
                let expected_seq = Some(at(session.seq(), *seq));
                let context = Context {
                    expected_seq,
                    ..context
                };
                let command = resolver.command(edit);
                return Sent { command, context };
            }
        };
        Sent { command, context }
    }
}

/// Returns a `seq` up to the last one.
fn at(last: Seq, pick: Index) -> Seq {
    let reach = usize::try_from(last.0).unwrap_or(usize::MAX - 1) + 1;
    Seq(pick.index(reach) as u64)
}

fn choose<T>(items: &[T], pick: Index) -> Option<&T> {
    if items.is_empty() { None } else { Some(pick.get(items)) }
}

/// Resolves each edit on the result of the preceding ones.
fn batch(session: &Session, command_id: CommandId, edits: &[Edit], keep_refused: bool) -> Command {
    let mut draft = Harness::new(session.header().clone(), session.rules().clone());
    let Document { graph, extras, .. } = session.document().clone();
    let extras = Some(extras);
    draft
        .submit(&Command::LoadGraph {
            graph,
            extras,
            from_file: false,
            template_id: None,
        })
        .expect("loading is always allowed");
    let mut derived_ids = 0;
    let mut commands = Vec::new();
    for edit in edits {
        let command = Resolver::new(draft.session().document(), session.rules()).command(edit);
        let mut tried = command.clone();
        // Id that the batch will derive for the node. Later choices may reference it.
        let derives_id = match &mut tried {
            Command::CreateNode(create) if create.node_id.is_none() => {
                create.node_id = Some(command_id.node(derived_ids));
                true
            }
            _ => false,
        };
        let is_accepted = draft.submit(&tried).is_ok();
        derived_ids += u32::from(is_accepted && derives_id);
        if is_accepted || keep_refused {
            commands.push(command);
        }
    }
    Command::Batch { commands }
}

impl Edit {
    /// Returns true if the edit can be resolved without nodes, or references an unknown node on purpose.
    const fn needs_no_existing_node(&self) -> bool {
        match self {
            Self::Create { .. } => true,
            Self::Delete(node)
            | Self::Link { child: node, .. }
            | Self::Unlink { child: node, .. }
            | Self::Move { node, .. }
            | Self::Reorder { node, .. }
            | Self::Update { node, .. }
            | Self::DeleteProperty { node, .. } => matches!(node, Pick::Unknown(_)),
        }
    }
}

/// Graph and template that choices are resolved on.
struct Resolver<'a> {
    graph: &'a Graph,
    blueprint: Option<&'a Blueprint>,
}

impl<'a> Resolver<'a> {
    fn new(document: &'a Document, rules: &'a Rules) -> Self {
        Self {
            graph: &document.graph,
            blueprint: rules.blueprint.as_deref(),
        }
    }

    fn command(&self, edit: &Edit) -> Command {
        if self.graph.is_empty() && !edit.needs_no_existing_node() {
            return self.create_root();
        }
        match edit {
            Edit::Create {
                id,
                node_type,
                parent,
                place,
                name,
                properties,
            } => self.create(*id, *node_type, *parent, *place, name.clone(), properties),
            Edit::Delete(node) => Command::DeleteNode {
                node_id: self.node(*node),
            },
            Edit::Link {
                child,
                parent,
                place,
                allow_invalid,
            } => {
                let child_id = self.choose_node(*child, |_, node| *allow_invalid || node.parent().is_none());
                let parent_id = self.choose_node(*parent, |id, _| *allow_invalid || !self.is_within(id, child_id));
                Command::LinkNode {
                    parent_id,
                    child_id,
                    index: self.index(Some(parent_id), *place, 0),
                }
            }
            Edit::Unlink { child, wrong_parent } => {
                let child_id = self.choose_node(*child, |_, node| node.parent().is_some());
                let own = self.graph.node(child_id).and_then(Node::parent);
                let parent_id = wrong_parent.map(|pick| self.node(pick)).or(own);
                Command::UnlinkNode {
                    parent_id: parent_id.unwrap_or_else(|| unknown(0)),
                    child_id,
                }
            }
            Edit::Move {
                node,
                parent,
                place,
                allow_invalid,
            } => {
                let node_id = self.node(*node);
                let is_free = |id: NodeId, _: &Node| *allow_invalid || !self.is_within(id, node_id);
                let has_free = self.graph.nodes().any(|(id, node)| is_free(id, node));
                // Without another node, the node stays among the roots.
                let parent = parent.filter(|pick| matches!(pick, Pick::Unknown(_)) || has_free);
                let new_parent_id = parent.map(|pick| self.choose_node(pick, is_free));
                let stays = self
                    .graph
                    .node(node_id)
                    .is_some_and(|node| node.parent() == new_parent_id);
                Command::MoveNode {
                    node_id,
                    new_parent_id,
                    index: self.index(new_parent_id, *place, usize::from(stays)),
                }
            }
            Edit::Reorder { node, place } => {
                let node_id = self.node(*node);
                let parent = self.graph.node(node_id).and_then(Node::parent);
                Command::ReorderNode {
                    node_id,
                    new_index: self.index(parent, *place, 1).unwrap_or_default(),
                }
            }
            Edit::Update { node, property, value } => {
                let node_id = self.node(*node);
                let property = self.property(self.content(node_id), *property);
                let new_value = self.value(self.content(node_id), &property, value);
                Command::UpdateProperty {
                    node_id,
                    property,
                    new_value,
                }
            }
            Edit::DeleteProperty { node, property } => {
                let node_id = self.node(*node);
                let property = self.property(self.content(node_id), *property);
                Command::DeleteProperty { node_id, property }
            }
        }
    }

    /// Returns the command for an edit that needs a node in an empty graph: the creation of a root.
    fn create_root(&self) -> Command {
        let first = self.blueprint.map(|blueprint| blueprint.root_type().key.clone());
        Command::CreateNode(CreateNode {
            node_type: first.unwrap_or_else(|| "alpha".into()),
            name: None,
            parent_id: None,
            index: None,
            properties: BTreeMap::new(),
            node_id: None,
        })
    }

    fn create(
        &self,
        id: NewId,
        node_type: TypePick,
        parent: Option<Pick>,
        place: Place,
        name: Option<EcoString>,
        properties: &[(PropertyPick, ValuePick)],
    ) -> Command {
        // An empty graph has no parent to choose.
        let parent = parent.filter(|pick| matches!(pick, Pick::Unknown(_)) || !self.graph.is_empty());
        let parent_id = parent.map(|pick| self.node(pick));
        let node_type = self.node_type(parent_id, node_type);
        let node_id = match id {
            NewId::Derived => None,
            NewId::Chosen(number) => Some(NodeId::new(Uuid::from_u128(0xc05e_0000 | u128::from(number)))),
            NewId::Taken(pick) => Some(self.node(Pick::Known(pick))),
        };
        let new_content = NodeContent {
            name: CreateNode::DEFAULT_NAME.into(),
            type_id: TypeId::new(node_type.clone()),
            properties: Properties::new(),
            metadata: None,
        };
        let set = properties.iter().map(|(property, value)| {
            let property = self.property(Some(&new_content), *property);
            let value = self.value(Some(&new_content), &property, value);
            (property, value)
        });
        Command::CreateNode(CreateNode {
            node_type,
            name,
            parent_id,
            index: self.index(parent_id, place, 0),
            properties: set.collect(),
            node_id,
        })
    }

    fn node(&self, pick: Pick) -> NodeId {
        self.choose_node(pick, |_, _| true)
    }

    fn is_within(&self, id: NodeId, top: NodeId) -> bool {
        self.graph.lineage(id).any(|above| above == top)
    }

    /// Returns a node that satisfies the predicate, or any node if none does.
    fn choose_node(&self, pick: Pick, matches: impl Fn(NodeId, &Node) -> bool) -> NodeId {
        let index = match pick {
            Pick::Known(index) => index,
            Pick::Unknown(number) => return unknown(number),
        };
        let (matching, other): (Vec<_>, Vec<_>) = self.graph.nodes().partition(|(id, node)| matches(*id, node));
        let ids = choose(&matching, index).or_else(|| choose(&other, index));
        ids.map_or_else(|| unknown(0), |(id, _)| *id)
    }

    fn content(&self, node_id: NodeId) -> Option<&'a NodeContent> {
        self.graph.node(node_id).map(|node| &node.content)
    }

    /// Returns an index among the siblings, `own` of which are the node itself (0 or 1).
    fn index(&self, parent: Option<NodeId>, place: Place, own: usize) -> Option<i64> {
        let len = self.graph.children(parent).map_or(0, Siblings::len);
        let last = len.saturating_sub(own);
        match place {
            Place::End => None,
            Place::Within(index) => i64::try_from(index.index(last + 1)).ok(),
            Place::Beyond(by) => i64::try_from(last + 1 + usize::from(by)).ok(),
            Place::Negative(index) => Some(index),
        }
    }

    fn node_type(&self, parent: Option<NodeId>, pick: TypePick) -> EcoString {
        const FREE: [&str; 4] = ["alpha", "beta", "gamma", "Größe ∞"];
        let Some(blueprint) = self.blueprint else {
            return match pick.which {
                Which::Fitting(index) | Which::Known(index) => (*index.get(&FREE)).into(),
                Which::Unknown => "unknown type".into(),
            };
        };
        let parent_type = parent
            .and_then(|id| self.content(id))
            .map(|content| content.type_id.as_str());
        let parent_type = parent_type.and_then(|id| blueprint.node_type(id));
        let all: Vec<&NodeType> = blueprint.node_types().collect();
        let allowed: Vec<&NodeType> = all
            .iter()
            .copied()
            .filter(|child| parent_type.is_none_or(|parent| parent.allows_child(child)))
            .collect();
        let found = match pick.which {
            Which::Fitting(index) => choose(&allowed, index),
            Which::Known(index) => choose(&all, index),
            Which::Unknown => None,
        };
        match found {
            Some(found) if pick.by_id => found.id.as_str().into(),
            Some(found) => found.key.clone(),
            None => "unknown type".into(),
        }
    }

    fn property(&self, content: Option<&NodeContent>, pick: PropertyPick) -> EcoString {
        const FREE: [&str; 6] = ["name", "color", "size", "due date", "größe", "notes"];
        const UNKNOWN: &str = "unknown property";
        let node_type = content.and_then(|content| self.type_of(content));
        let properties: Vec<_> = node_type.iter().flat_map(|node_type| node_type.properties()).collect();
        let set: Vec<_> = content.iter().flat_map(|content| content.properties.keys()).collect();
        match (pick.which, self.blueprint) {
            (Which::Unknown, _) => UNKNOWN.into(),
            (Which::Known(index), _) if !set.is_empty() => index.get(&set).as_str().into(),
            (Which::Fitting(index) | Which::Known(index), None) => (*index.get(&FREE)).into(),
            (Which::Fitting(index) | Which::Known(index), Some(_)) => match choose(&properties, index) {
                Some(found) if pick.by_id => found.id.as_str().into(),
                Some(found) => found.key.clone(),
                None => PropertyId::NAME.into(),
            },
        }
    }

    fn type_of(&self, content: &NodeContent) -> Option<&'a NodeType> {
        self.blueprint?.node_type(content.type_id.as_str())
    }

    fn value(&self, content: Option<&NodeContent>, property: &str, pick: &ValuePick) -> Value {
        let known = content
            .and_then(|content| self.type_of(content))
            .and_then(|node_type| node_type.property(property));
        let is_name = property == PropertyId::NAME || known.is_some_and(|known| &*known.key == PropertyId::NAME);
        match pick {
            ValuePick::Any(value) => value.clone(),
            ValuePick::Same if is_name => content.map_or(Value::Null, |content| Value::Text(content.name.clone())),
            ValuePick::Same => {
                let id = known.map_or_else(|| PropertyId::new(property), |known| known.id.clone());
                let value = content.and_then(|content| content.properties.get(&id));
                value.cloned().unwrap_or(Value::Null)
            }
            ValuePick::Fitting(_, index) if is_name => Value::text(format!("N{}", index.index(100))),
            ValuePick::Fitting(value, index) => {
                known.map_or_else(|| value.clone(), |known| self.fitting(&known.kind, value, *index))
            }
        }
    }

    /// Returns a value that the kind of property accepts, as similar to the given value as possible.
    fn fitting(&self, kind: &PropertyKind, value: &Value, pick: Index) -> Value {
        let number = pick.index(28);
        match (kind, value) {
            (PropertyKind::Other(_), _)
            | (PropertyKind::Text(_), Value::Text(_))
            | (PropertyKind::Number(_), Value::Number(_))
            | (PropertyKind::Checkbox, Value::Bool(_))
            | (PropertyKind::Object, Value::Object(_))
            | (_, Value::Null) => value.clone(),
            (PropertyKind::Text(_), _) => Value::text(format!("text {number}")),
            (PropertyKind::Number(_), Value::Text(_)) => Value::text(format!("{number}.50")),
            (PropertyKind::Number(_), _) => Value::Number(Number::Int(number.try_into().unwrap_or_default())),
            (PropertyKind::Checkbox, _) => Value::Bool(number.is_multiple_of(2)),
            (PropertyKind::Date, _) => Value::text(format!("2026-02-{:02}", number + 1)),
            (PropertyKind::Object, other) => Value::Object(Arc::new(BTreeMap::from([("is".into(), other.clone())]))),
            (PropertyKind::Select(options), other) => match choose(options, pick) {
                Some(option) if matches!(other, Value::Text(_)) => Value::Text(option.name.clone()),
                Some(option) => Value::Text(option.id.clone()),
                None => Value::Null,
            },
            (PropertyKind::NodeReference, other) => {
                let reference = Value::text(self.node(Pick::Known(pick)).to_string());
                if matches!(other, Value::List(_)) {
                    Value::List(Arc::from([reference]))
                } else {
                    reference
                }
            }
        }
    }
}

/// Returns an id that never belongs to a node.
fn unknown(number: u8) -> NodeId {
    NodeId::new(Uuid::from_u128(0xdead_0000 | u128::from(number)))
}
