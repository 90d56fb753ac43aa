//! Rejections: reasons for which a command is refused. A refusal is a value, changes nothing (P5) and is not recorded.

use std::sync::Arc;

use ecow::EcoString;

use super::{
    ids::{ClientId, CommandId, NodeId, PropertyId, Seq},
    limits::LimitExceeded,
    record::CommandRecord,
};

/// Reason for which a command is refused. The texts are for people, and [`Rejection::code`] is for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The template does not contain the node type.
    #[error("the template has no node type {0:?}")]
    UnknownNodeType(EcoString),
    /// The node type does not contain the property.
    #[error("node type {node_type:?} has no property {property:?}")]
    UnknownProperty {
        /// Slug of the type.
        node_type: EcoString,
        /// Property as the command named it.
        property: EcoString,
    },
    /// The node does not exist.
    #[error("node {0} does not exist")]
    NodeNotFound(NodeId),
    /// The property is not set.
    #[error("node {node_id} has no property {property:?}")]
    PropertyNotFound {
        /// Node that the command named.
        node_id: NodeId,
        /// Property as the command named it.
        property: EcoString,
    },
    /// The template does not allow the child type under the parent type.
    #[error("a node of type {child_type:?} may not stand under one of type {parent_type:?}")]
    ChildNotAllowed {
        /// Type of the parent.
        parent_type: EcoString,
        /// Type of the child.
        child_type: EcoString,
    },
    /// The id belongs to an existing node.
    #[error("node {0} exists already")]
    NodeExists(NodeId),
    /// The node already has a parent.
    #[error("node {child_id} is already linked, to {parent_id}")]
    AlreadyLinked {
        /// Node that the command named.
        child_id: NodeId,
        /// Present parent of the node.
        parent_id: NodeId,
    },
    /// The node is not a child of the named parent.
    #[error("node {child_id} is not linked to {parent_id}")]
    NotLinked {
        /// Node that the command named.
        child_id: NodeId,
        /// Parent that the command named.
        parent_id: NodeId,
    },
    /// The node would become its own ancestor.
    #[error("node {node_id} cannot go below itself, to {parent_id}")]
    Cycle {
        /// Node that the command named.
        node_id: NodeId,
        /// Parent that the command named.
        parent_id: NodeId,
    },
    /// The index is negative or lies beyond the siblings.
    #[error("index {index} is not between 0 and {max}")]
    IndexOutOfRange {
        /// Index that the command named.
        index: i64,
        /// Highest valid index.
        max: usize,
    },
    /// The property does not accept the value.
    #[error("{property:?} must be {expected}, not {found}")]
    InvalidValue {
        /// Slug or id of the property.
        property: EcoString,
        /// Description of the accepted values.
        expected: EcoString,
        /// Description of the value that was sent.
        found: EcoString,
    },
    /// A size or count exceeds a limit (P9).
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The request is malformed in any state of the session.
    #[error("{field}: {reason}")]
    InvalidRequest {
        /// Field that is malformed.
        field: &'static str,
        /// Reason, as a message for people.
        reason: EcoString,
    },
    /// There is nothing to undo.
    #[error("there is nothing to undo")]
    NothingToUndo,
    /// There is nothing to redo.
    #[error("there is nothing to redo")]
    NothingToRedo,
    /// A later change prevents the undo or redo.
    #[error("{}", .0.obstacle)]
    UndoConflict(Box<UndoConflict>),
    /// The command id belongs to another command (P4).
    #[error("command id {0} was used for another command")]
    CommandIdReused(CommandId),
    /// A part of the document that the command depends on changed after `expected_seq`.
    #[error("{what} changed at {changed_seq}, after {expected_seq}")]
    Conflict {
        /// Part that changed.
        what: EcoString,
        /// `seq` of the change.
        changed_seq: Seq,
        /// Last `seq` known to the client.
        expected_seq: Seq,
        /// Present `seq` of the session.
        current_seq: Seq,
        /// Record of the change, if the replay window contains it.
        blocked_by: Option<Box<BlockedBy>>,
    },
    /// A command of a batch is refused, and the batch with it.
    #[error("command {index} of the batch: {rejection}")]
    InBatch {
        /// Index of the command, counted from 0.
        index: usize,
        /// Reason of the refusal.
        rejection: Box<Rejection>,
    },
}

/// Conflict that prevents an undo or redo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoConflict {
    /// State of the document that prevents the command.
    pub obstacle: Obstacle,
    /// Command that caused the obstacle, if known.
    pub blocked_by: Option<BlockedBy>,
}

/// Deviation from the state that the command left (for an undo) or that the undo left (for a redo).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A property or the name has another value.
    #[error("property {property:?} of node {node_id} has changed since")]
    PropertyChanged {
        /// Node that has the property.
        node_id: NodeId,
        /// Property with another value.
        property: PropertyId,
    },
    /// A node to delete has another content.
    #[error("node {0} has changed since")]
    NodeChanged(NodeId),
    /// A node is in another place.
    #[error("node {0} has been moved since")]
    NodeMoved(NodeId),
    /// A node to delete has children.
    #[error("node {0} has something under it now")]
    NodeOccupied(NodeId),
    /// A required node has been deleted. Cannot be overridden.
    #[error("node {0} is gone")]
    NodeMissing(NodeId),
    /// The id of a node to restore belongs to an existing node. Cannot be overridden.
    #[error("node {0} is there already")]
    NodeTaken(NodeId),
    /// A node would become its own ancestor. Cannot be overridden.
    #[error("node {node_id} would go below itself, to {parent_id}")]
    Cycle {
        /// Node to move.
        node_id: NodeId,
        /// Parent to move the node under.
        parent_id: NodeId,
    },
    /// The document to replace has changed.
    #[error("the graph has changed since")]
    DocumentChanged,
}

impl Obstacle {
    /// Returns the node that the obstacle is about. `None` for [`Self::DocumentChanged`].
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

/// Latest command that changed a part of the document which another command depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedBy {
    /// Client that sent the command.
    pub client_id: Option<ClientId>,
    /// User that sent the command.
    pub user: Option<Arc<str>>,
    /// Id of the command. `None` if only the `seq` of the change is known.
    pub command_id: Option<CommandId>,
    /// `seq` of the command's closing event.
    pub seq: Seq,
}

impl From<&CommandRecord> for BlockedBy {
    fn from(recorded: &CommandRecord) -> Self {
        Self {
            client_id: recorded.author.client_id.clone(),
            user: recorded.author.user.clone(),
            command_id: Some(recorded.command_id),
            seq: recorded.seq(),
        }
    }
}

impl Rejection {
    /// Returns true if the request is malformed in any state of the session. Subscribers are not notified of malformed
    /// commands.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::InvalidRequest { .. } => true,
            Self::InBatch { rejection, .. } => rejection.is_malformed(),
            _ => false,
        }
    }

    /// Returns the stable code on the wire.
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
