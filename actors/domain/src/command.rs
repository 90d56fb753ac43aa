//! Commands: requested changes of a session, and the context that accompanies them.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::{
    document::Extras,
    graph::Graph,
    ids::{ClientId, CommandId, NodeId, Seq, TemplateId, Timestamp},
    value::Value,
};

/// Requested change of a session. Types and properties are referenced as the client named them, by slug or by id.
/// [`decide`](super::decide) resolves the references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Command {
    /// Adds a node.
    CreateNode(CreateNode),
    /// Deletes a node with its whole subtree.
    DeleteNode {
        /// Root of the deleted subtree.
        node_id: NodeId,
    },
    /// Links a root under a parent.
    LinkNode {
        /// New parent of the root.
        parent_id: NodeId,
        /// Root to link.
        child_id: NodeId,
        /// Index among the parent's children. `None` appends the node.
        index: Option<i64>,
    },
    /// Unlinks a child from its parent. The child becomes the last root.
    UnlinkNode {
        /// Present parent of the child.
        parent_id: NodeId,
        /// Child to unlink.
        child_id: NodeId,
    },
    /// Moves a node with its subtree to another place.
    MoveNode {
        /// Node to move.
        node_id: NodeId,
        /// New parent. `None` moves the node to the roots.
        new_parent_id: Option<NodeId>,
        /// Index among the new siblings, counted without the node. `None` appends the node.
        index: Option<i64>,
    },
    /// Moves a node to another index among its siblings.
    ReorderNode {
        /// Node to move.
        node_id: NodeId,
        /// Index among the siblings, counted without the node.
        new_index: i64,
    },
    /// Sets a property; the property `name` renames the node.
    UpdateProperty {
        /// Node that has the property.
        node_id: NodeId,
        /// Property by slug or id.
        property: EcoString,
        /// New value of the property.
        new_value: Value,
    },
    /// Deletes a property of a node.
    DeleteProperty {
        /// Node that has the property.
        node_id: NodeId,
        /// Property by slug or id.
        property: EcoString,
    },
    /// Applies several commands together or not at all, as one step of undo (P5).
    Batch {
        /// Commands in order, each decided on the result of the preceding ones. Only commands on nodes are allowed: no
        /// batch, undo, redo, load, save or beginning of a project.
        commands: Vec<Command>,
    },
    /// Undoes a command.
    Undo {
        /// Selects the commands among which the last one is undone.
        scope: Scope,
        /// Overrides later changes of others where possible.
        // Omitted if false: fingerprints of commands from before this field stay the same.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Redoes an undone command.
    Redo {
        /// Selects the commands among which the last undone one is redone.
        scope: Scope,
        /// Overrides later changes of others where possible.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Replaces the whole graph.
    LoadGraph {
        /// New graph, checked by the importer.
        graph: Graph,
        /// Other contents of the project file. `None` keeps the extras of the session.
        extras: Option<Extras>,
        /// True if the graph comes from the project's own file, which leaves nothing to save.
        from_file: bool,
        /// Template of the graph. `None` keeps the template of the session.
        // Omitted if `None`: fingerprints of commands from before this field stay the same.
        #[serde(skip_serializing_if = "Option::is_none")]
        template_id: Option<TemplateId>,
    },
    /// Records a completed save of the project.
    SaveProject {
        /// Name of the file.
        file: Arc<str>,
        /// Last `seq` that the file contains.
        through: Seq,
    },
    /// Begins a project with the root node of its template. Cannot be undone.
    CreateProject {
        /// Root node, as for `CreateNode`.
        root: CreateNode,
    },
}

/// Description of a node to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreateNode {
    /// Type by slug or id.
    pub node_type: EcoString,
    /// Name. Without a name and without a property `name`, the node is called [`CreateNode::DEFAULT_NAME`].
    pub name: Option<EcoString>,
    /// Parent. `None` creates a root.
    pub parent_id: Option<NodeId>,
    /// Index among the siblings. `None` appends the node.
    pub index: Option<i64>,
    /// Properties by slug or id.
    pub properties: BTreeMap<EcoString, Value>,
    /// Id, if the client generated one. Otherwise the id is derived from the command's id.
    pub node_id: Option<NodeId>,
}

impl CreateNode {
    /// Default name of a new node.
    pub const DEFAULT_NAME: &'static str = "New Node";
}

/// Selects the commands that an undo or redo chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All commands of the session, of any author.
    #[default]
    Session,
    /// Commands of the author who sends the undo or redo.
    Mine,
}

impl Scope {
    /// Returns true for [`Scope::Session`], the default that serialized records omit.
    #[must_use]
    pub const fn is_session(&self) -> bool {
        matches!(self, Self::Session)
    }
}

impl Command {
    /// Returns an undo without `force`.
    #[must_use]
    pub const fn undo(scope: Scope) -> Self {
        Self::Undo { scope, force: false }
    }

    /// Returns a redo without `force`.
    #[must_use]
    pub const fn redo(scope: Scope) -> Self {
        Self::Redo { scope, force: false }
    }

    /// Returns the type of the command.
    #[must_use]
    pub const fn kind(&self) -> CommandType {
        match self {
            Self::CreateNode(_) => CommandType::CreateNode,
            Self::DeleteNode { .. } => CommandType::DeleteNode,
            Self::LinkNode { .. } => CommandType::LinkNode,
            Self::UnlinkNode { .. } => CommandType::UnlinkNode,
            Self::MoveNode { .. } => CommandType::MoveNode,
            Self::ReorderNode { .. } => CommandType::ReorderNode,
            Self::UpdateProperty { .. } => CommandType::UpdateProperty,
            Self::DeleteProperty { .. } => CommandType::DeleteProperty,
            Self::Batch { .. } => CommandType::Batch,
            Self::Undo { .. } => CommandType::Undo,
            Self::Redo { .. } => CommandType::Redo,
            Self::LoadGraph { .. } => CommandType::LoadGraph,
            Self::SaveProject { .. } => CommandType::SaveProject,
            Self::CreateProject { .. } => CommandType::CreateProject,
        }
    }

    /// Returns the scope of an undo or redo, and [`Scope::Session`] for any other command.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Undo { scope, .. } | Self::Redo { scope, .. } => *scope,
            _ => Scope::Session,
        }
    }

    /// Returns a hash of the content, to tell a retry from another command under the same id (P4).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        // Serializing a command cannot fail: its maps have text keys, and every value of a command has a JSON form.
        let content = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha1::digest(&content);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Fingerprint(u64::from_be_bytes(first))
    }
}

/// First 64 bits of the SHA-1 of a command's content.
///
/// Distinguishes a retry from an id that a client reuses by mistake. A deliberate collision affects only its producer,
/// so collision resistance is unnecessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

/// Types of commands, named as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is documented at the command of its name")]
pub enum CommandType {
    CreateNode,
    DeleteNode,
    LinkNode,
    UnlinkNode,
    MoveNode,
    ReorderNode,
    UpdateProperty,
    DeleteProperty,
    Batch,
    Undo,
    Redo,
    LoadGraph,
    SaveProject,
    CreateProject,
}

impl CommandType {
    /// All types. The types of the wire's command table come first.
    pub const ALL: [Self; 14] = [
        Self::CreateNode,
        Self::DeleteNode,
        Self::LinkNode,
        Self::UnlinkNode,
        Self::MoveNode,
        Self::ReorderNode,
        Self::UpdateProperty,
        Self::DeleteProperty,
        Self::Batch,
        Self::Undo,
        Self::Redo,
        Self::LoadGraph,
        Self::SaveProject,
        Self::CreateProject,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateNode => "CreateNode",
            Self::DeleteNode => "DeleteNode",
            Self::LinkNode => "LinkNode",
            Self::UnlinkNode => "UnlinkNode",
            Self::MoveNode => "MoveNode",
            Self::ReorderNode => "ReorderNode",
            Self::UpdateProperty => "UpdateProperty",
            Self::DeleteProperty => "DeleteProperty",
            Self::Batch => "Batch",
            Self::Undo => "Undo",
            Self::Redo => "Redo",
            Self::LoadGraph => "LoadGraph",
            Self::SaveProject => "SaveProject",
            Self::CreateProject => "CreateProject",
        }
    }

    /// Returns true if the command is a step of undo. Beginning a project and saving it are no steps: undoing them
    /// would leave a project without a root, or a file that contradicts the history.
    #[must_use]
    pub const fn is_undoable(self) -> bool {
        match self {
            Self::CreateNode
            | Self::DeleteNode
            | Self::LinkNode
            | Self::UnlinkNode
            | Self::MoveNode
            | Self::ReorderNode
            | Self::UpdateProperty
            | Self::DeleteProperty
            | Self::Batch
            | Self::LoadGraph => true,
            Self::Undo | Self::Redo | Self::SaveProject | Self::CreateProject => false,
        }
    }
}

impl std::fmt::Display for CommandType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Author of a command: the client and the user, as far as known. The texts of the wire and of the log call it `origin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Client, if the request names one or arrived on a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// User, if the hub knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
}

/// Key that tells authors apart, for scope `mine` of undo and redo: the user, or else the client.
///
/// Folded from the log, so the key stays the same after a reload, a reconnect or a restart as long as the client
/// keeps its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorKey {
    /// User, on any client.
    User(Arc<str>),
    /// Client whose user is not known.
    Client(ClientId),
}

impl Author {
    /// Returns the user or else the client, and `None` if neither is known.
    #[must_use]
    pub fn key(&self) -> Option<AuthorKey> {
        let client = || self.client_id.clone().map(AuthorKey::Client);
        self.user.clone().map(AuthorKey::User).or_else(client)
    }
}

/// Inputs of a decision beside the session and the command.
#[derive(Debug, Clone)]
pub struct Context {
    /// Id of the command.
    pub command_id: CommandId,
    /// Author of the command.
    pub author: Author,
    /// Time at which the hub received the command.
    pub now: Timestamp,
    /// Refuses the command if a node that it depends on changed after this `seq`. `None` skips the check.
    pub expected_seq: Option<Seq>,
}
