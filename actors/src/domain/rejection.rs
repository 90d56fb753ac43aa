//! Why a command is refused. A refusal is a value, changes nothing (P5) and leaves no trace.

use std::sync::Arc;

use ecow::EcoString;

use super::{
    ids::{ClientId, CommandId, NodeId, PropertyId, Seq},
    limits::LimitExceeded,
    recorded::Recorded,
};

/// Why a command is refused. The texts are for people; [`Rejection::code`] is what programs look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The template has no such type.
    #[error("the template has no node type {0:?}")]
    UnknownNodeType(EcoString),
    /// The type has no such property.
    #[error("node type {node_type:?} has no property {property:?}")]
    UnknownProperty {
        /// The type's slug.
        node_type: EcoString,
        /// What was named.
        property: EcoString,
    },
    /// No such node.
    #[error("node {0} does not exist")]
    NodeNotFound(NodeId),
    /// The property is not set.
    #[error("node {node_id} has no property {property:?}")]
    PropertyNotFound {
        /// The node.
        node_id: NodeId,
        /// What was named.
        property: EcoString,
    },
    /// The template does not let this type stand under that one.
    #[error("a node of type {child_type:?} may not stand under one of type {parent_type:?}")]
    ChildNotAllowed {
        /// The parent's type.
        parent_type: EcoString,
        /// The child's type.
        child_type: EcoString,
    },
    /// The id is taken.
    #[error("node {0} exists already")]
    NodeExists(NodeId),
    /// The node has a parent.
    #[error("node {child_id} is already linked, to {parent_id}")]
    AlreadyLinked {
        /// The node.
        child_id: NodeId,
        /// Its parent.
        parent_id: NodeId,
    },
    /// The node is not a child of that parent.
    #[error("node {child_id} is not linked to {parent_id}")]
    NotLinked {
        /// The node.
        child_id: NodeId,
        /// What was named as its parent.
        parent_id: NodeId,
    },
    /// The node would become its own ancestor.
    #[error("node {node_id} cannot go below itself, to {parent_id}")]
    Cycle {
        /// The node.
        node_id: NodeId,
        /// The parent that was named.
        parent_id: NodeId,
    },
    /// The index is negative or lies beyond the siblings.
    #[error("index {index} is not between 0 and {max}")]
    IndexOutOfRange {
        /// What was named.
        index: i64,
        /// The highest there is.
        max: usize,
    },
    /// The value does not fit the property.
    #[error("{property:?} must be {expected}, not {found}")]
    InvalidValue {
        /// The property's slug or id.
        property: EcoString,
        /// What would fit.
        expected: EcoString,
        /// What was sent.
        found: EcoString,
    },
    /// Something is larger or more than the hub allows (P9).
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The request makes no sense, whatever the state.
    #[error("{field}: {reason}")]
    InvalidRequest {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: EcoString,
    },
    /// There is nothing to undo.
    #[error("there is nothing to undo")]
    NothingToUndo,
    /// There is nothing to redo.
    #[error("there is nothing to redo")]
    NothingToRedo,
    /// What was to be undone or redone is no longer as it was left.
    #[error("{}", .0.obstacle)]
    UndoConflict(Box<UndoConflict>),
    /// The command id was used before, for something else (P4).
    #[error("command id {0} was used for another command")]
    CommandIdReused(CommandId),
    /// A node that the command touches changed meanwhile.
    #[error("{what} changed at {changed_seq}, after {expected_seq}")]
    Conflict {
        /// What changed.
        what: EcoString,
        /// When it changed.
        changed_seq: Seq,
        /// What the client knew.
        expected_seq: Seq,
        /// Where the session is.
        current_seq: Seq,
        /// Who changed it, if that is among what the session remembers.
        blocked_by: Option<Box<BlockedBy>>,
    },
    /// A command of a batch is refused, and so the batch.
    #[error("command {index} of the batch: {rejection}")]
    InBatch {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        rejection: Box<Rejection>,
    },
}

/// What stands in the way of an undo or redo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoConflict {
    /// What it is.
    pub obstacle: Obstacle,
    /// Who put it there, as far as that is known.
    pub blocked_by: Option<BlockedBy>,
}

/// Something that is not as the command left it that is to be undone, or as the undo left it that is to be redone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A property, or the name, has another value.
    #[error("property {property:?} of node {node_id} has changed since")]
    PropertyChanged {
        /// The node.
        node_id: NodeId,
        /// The property.
        property: PropertyId,
    },
    /// A node that would go is no longer what it was.
    #[error("node {0} has changed since")]
    NodeChanged(NodeId),
    /// A node stands elsewhere.
    #[error("node {0} has been moved since")]
    NodeMoved(NodeId),
    /// A node that would go has something under it.
    #[error("node {0} has something under it now")]
    NodeOccupied(NodeId),
    /// A node that is needed is gone. Cannot be overridden.
    #[error("node {0} is gone")]
    NodeMissing(NodeId),
    /// The id of a node that would come back is taken. Cannot be overridden.
    #[error("node {0} is there already")]
    NodeTaken(NodeId),
    /// A node would go below itself. Cannot be overridden.
    #[error("node {node_id} would go below itself, to {parent_id}")]
    Cycle {
        /// The node.
        node_id: NodeId,
        /// Where it would go.
        parent_id: NodeId,
    },
    /// The document that would be replaced has changed.
    #[error("the graph has changed since")]
    DocumentChanged,
}

impl Obstacle {
    /// The node that it is about.
    #[must_use]
    pub const fn node_id(&self) -> Option<NodeId> {
        match self {
            Self::PropertyChanged { node_id, .. }
            | Self::NodeChanged(node_id)
            | Self::NodeMoved(node_id)
            | Self::NodeOccupied(node_id)
            | Self::NodeMissing(node_id)
            | Self::NodeTaken(node_id)
            | Self::Cycle { node_id, .. } => Some(*node_id),
            Self::DocumentChanged => None,
        }
    }
}

/// The latest command that changed what stands in the way of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedBy {
    /// The client that sent it.
    pub client_id: Option<ClientId>,
    /// The user who sent it.
    pub user: Option<Arc<str>>,
    /// Its id; `None` if it is known only when it was.
    pub command_id: Option<CommandId>,
    /// The `seq` of its last event.
    pub seq: Seq,
}

impl From<&Recorded> for BlockedBy {
    fn from(recorded: &Recorded) -> Self {
        Self {
            client_id: recorded.origin.client_id.clone(),
            user: recorded.origin.user.clone(),
            command_id: Some(recorded.command_id),
            seq: recorded.seq(),
        }
    }
}

impl Rejection {
    /// Whether the request makes no sense, whatever the state. Nobody is told of such a command.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::InvalidRequest { .. } => true,
            Self::InBatch { rejection, .. } => rejection.is_malformed(),
            _ => false,
        }
    }

    /// The stable code on the wire.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownNodeType(_) => "UNKNOWN_NODE_TYPE",
            Self::UnknownProperty { .. } => "UNKNOWN_PROPERTY",
            Self::NodeNotFound(_) => "NODE_NOT_FOUND",
            Self::PropertyNotFound { .. } => "PROPERTY_NOT_FOUND",
            Self::ChildNotAllowed { .. } => "CHILD_NOT_ALLOWED",
            Self::NodeExists(_) => "NODE_EXISTS",
            Self::AlreadyLinked { .. } => "ALREADY_LINKED",
            Self::NotLinked { .. } => "NOT_LINKED",
            Self::Cycle { .. } => "CYCLE",
            Self::IndexOutOfRange { .. } => "INDEX_OUT_OF_RANGE",
            Self::InvalidValue { .. } => "INVALID_VALUE",
            Self::LimitExceeded(_) => "LIMIT_EXCEEDED",
            Self::InvalidRequest { .. } => "INVALID_REQUEST",
            Self::NothingToUndo => "NOTHING_TO_UNDO",
            Self::NothingToRedo => "NOTHING_TO_REDO",
            Self::UndoConflict(_) => "UNDO_CONFLICT",
            Self::CommandIdReused(_) => "COMMAND_ID_REUSED",
            Self::Conflict { .. } => "CONFLICT",
            Self::InBatch { rejection, .. } => rejection.code(),
        }
    }
}
