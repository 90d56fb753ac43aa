//! What somebody wants: commands, and the context they come in.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::{
    event::Extras,
    graph::Graph,
    ids::{ClientId, CommandId, NodeId, Seq, TemplateId, Timestamp},
    value::Value,
};

/// A wish to change a session. Types and properties are named as the client named them, by slug or by id; `decide`
/// resolves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Command {
    /// Adds a node.
    CreateNode(CreateNode),
    /// Removes a node and everything below it.
    DeleteNode {
        /// The top of what goes.
        node_id: NodeId,
    },
    /// Hangs a root under a parent.
    LinkNode {
        /// The new parent.
        parent_id: NodeId,
        /// The root.
        child_id: NodeId,
        /// Where among the parent's children; at the end if absent.
        index: Option<i64>,
    },
    /// Makes a child a root, the last one.
    UnlinkNode {
        /// The parent it has.
        parent_id: NodeId,
        /// The child.
        child_id: NodeId,
    },
    /// Takes a node with everything below it to another place.
    MoveNode {
        /// The node.
        node_id: NodeId,
        /// The new parent; `None`: to the roots.
        new_parent_id: Option<NodeId>,
        /// Where among the new siblings, counted without the node; at the end if absent.
        index: Option<i64>,
    },
    /// Takes a node to another place among its siblings.
    ReorderNode {
        /// The node.
        node_id: NodeId,
        /// Where, counted without the node.
        new_index: i64,
    },
    /// Sets a property; the property `name` renames the node.
    UpdateProperty {
        /// The node.
        node_id: NodeId,
        /// The property, by slug or id.
        property: EcoString,
        /// What it becomes.
        new_value: Value,
    },
    /// Takes a property away.
    DeleteProperty {
        /// The node.
        node_id: NodeId,
        /// The property, by slug or id.
        property: EcoString,
    },
    /// Several commands that apply together or not at all, and are one step of undo (P5).
    Batch {
        /// In order; later ones see what earlier ones did. Only commands on nodes: no batch, undo or redo, nothing that
        /// replaces or writes the whole.
        commands: Vec<Command>,
    },
    /// Takes a command back.
    Undo {
        /// Whose.
        scope: Scope,
        /// Whether what others did since is overridden, as far as it can be.
        // Not written if it is not so: commands from before there was such a word have the fingerprints that they had.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Does an undone command again.
    Redo {
        /// Whose.
        scope: Scope,
        /// As for an undo.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Replaces the whole graph.
    LoadGraph {
        /// What it becomes; checked by the importer.
        graph: Graph,
        /// What else the file holds; `None` keeps what the session has.
        extras: Option<Extras>,
        /// Whether it comes from the project's own file: then there is nothing to save.
        from_file: bool,
        /// The template that it comes with; `None` keeps the session's.
        // Not written if there is none, so that fingerprints from before there was one stay.
        #[serde(skip_serializing_if = "Option::is_none")]
        template_id: Option<TemplateId>,
    },
    /// Notes that the project was written to its file.
    SaveProject {
        /// The name of the file.
        file: Arc<str>,
        /// The state that was written: everything up to here.
        through: Seq,
    },
    /// Begins a project with the node its template begins with. Not a step of undo.
    CreateProject {
        /// The root, as for `CreateNode`.
        root: CreateNode,
    },
}

/// The node to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreateNode {
    /// The type, by slug or id.
    pub node_type: EcoString,
    /// The name; [`CreateNode::DEFAULT_NAME`] if neither this nor a property `name` is given.
    pub name: Option<EcoString>,
    /// The parent; `None` makes a root.
    pub parent_id: Option<NodeId>,
    /// Where among the siblings; at the end if absent.
    pub index: Option<i64>,
    /// Properties by slug or id.
    pub properties: BTreeMap<EcoString, Value>,
    /// The id, if the client minted one.
    pub node_id: Option<NodeId>,
}

impl CreateNode {
    /// What a node is called if nobody says.
    pub const DEFAULT_NAME: &'static str = "New Node";
}

/// Whose commands an undo or redo is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The last command of the session, whoever sent it.
    #[default]
    Session,
    /// The last command of whoever asks.
    Mine,
}

impl Scope {
    /// Whether it is the session, which nobody has to say.
    #[must_use]
    pub const fn is_session(&self) -> bool {
        matches!(self, Self::Session)
    }
}

impl Command {
    /// An undo that overrides nothing.
    #[must_use]
    pub const fn undo(scope: Scope) -> Self {
        Self::Undo { scope, force: false }
    }

    /// A redo that overrides nothing.
    #[must_use]
    pub const fn redo(scope: Scope) -> Self {
        Self::Redo { scope, force: false }
    }

    /// Which kind of command it is.
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

    /// Whose commands an undo or redo is about; the session's for any other command.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Undo { scope, .. } | Self::Redo { scope, .. } => *scope,
            _ => Scope::Session,
        }
    }

    /// Tells whether two commands under one id are the same command (P4).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        // Serializing a command cannot fail: its maps have text keys and nothing in it refuses.
        let content = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha1::digest(&content);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Fingerprint(u64::from_be_bytes(first))
    }
}

/// The first 64 bits of the SHA-1 of a command's content. It tells a client's mistake from a retry; it is no defence
/// against somebody who makes two commands collide, who would only fool himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

/// The kinds of command, named as on the wire.
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
    /// All of them, those of the wire's command table first.
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

    /// The name on the wire.
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

    /// Whether it is a step that undo takes back. Beginning a project and writing its file are not: taking them back
    /// would leave a project without a root, or a file that says something else.
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

/// Who sent a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client, if it named itself or sent the command on its socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The user, if the hub knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
}

/// Whom a command counts as one of, for undoing one's own. Folded from the log with everything else, so it is the same
/// author after a reload, a reconnect or a restart, as long as the client keeps its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// A user, on whichever client.
    User(Arc<str>),
    /// A client whose user is not known.
    Client(ClientId),
}

impl Origin {
    /// The author, if the origin names anybody.
    #[must_use]
    pub fn author(&self) -> Option<Author> {
        let client = || self.client_id.clone().map(Author::Client);
        self.user.clone().map(Author::User).or_else(client)
    }
}

/// What comes with a command: everything about the world outside that deciding may look at.
#[derive(Debug, Clone)]
pub struct Context {
    /// The command's id.
    pub command_id: CommandId,
    /// Who sent it.
    pub origin: Origin,
    /// When it was received.
    pub now: Timestamp,
    /// If given: refuse if a node that the command touches changed after this.
    pub expected_seq: Option<Seq>,
}
