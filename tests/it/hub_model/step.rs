//! Steps of a plan. Steps name their subjects by numbers that have a meaning in every state, so that a plan is a plain
//! list: it can be shortened anywhere, written to a file and run again.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Number of sessions: two, so that effects of one session on the other are seen (P7).
pub const SESSIONS: usize = 2;

/// Number of clients. A client belongs to the session with its number modulo [`SESSIONS`].
pub const CLIENTS: usize = 5;

/// Step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Sends a command, and waits for its answer.
    Submit { session: usize, edit: Edit },
    /// Sends many commands at once, from one sender or from several, with a fault or without.
    Burst {
        session: usize,
        one_sender: bool,
        edits: Vec<Edit>,
        fault: Option<FaultKind>,
    },
    /// Injects a fault, sends a command, and may send it again.
    Fail {
        session: usize,
        fault: FaultKind,
        edit: Edit,
        again: bool,
    },
    /// Sends an earlier command again (P4).
    Duplicate { session: usize, which: u16 },
    /// Sends another command under the id of an accepted one (P4).
    Reuse { session: usize, which: u16, edit: Edit },
    /// Joins a client, with its position unless it is forgetful.
    Join { client: usize, forgetful: bool },
    /// Disconnects a client.
    Leave { client: usize },
    /// Disconnects a client, and joins it again.
    Bounce { client: usize },
    /// Stops a client from reading. This many packets fit into its queue.
    Lag { client: usize, packets: u8 },
    /// Has a lagging client read again.
    CatchUp { client: usize },
    /// Reports a divergence from a client.
    Diverge { client: usize },
    /// Restarts the actor of a session.
    Restart { session: usize },
    /// Quarantines a session.
    Quarantine { session: usize },
    /// Releases a session from quarantine.
    Release { session: usize },
    /// Passivates a session, which works if no client is connected.
    Passivate { session: usize },
    /// Drains the hub, and starts another one on the same data.
    DrainAndStart,
}

/// Kind of an injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    PanicDecide,
    PanicApply,
    PanicBroadcast,
    AppendError,
    AppendConflict,
    AppendUnknown,
    AppendDelay,
}

/// Command whose subjects are numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    Create {
        /// One of 40 ids, so that a deleted node can be created again. Without an id the command chooses one.
        id: Option<u8>,
        parent: Option<u16>,
        index: Option<u8>,
    },
    Delete(u16),
    Move {
        node: u16,
        parent: Option<u16>,
        index: Option<u8>,
    },
    Reorder {
        node: u16,
        index: u8,
    },
    Link {
        child: u16,
        parent: u16,
    },
    Unlink(u16),
    Set {
        node: u16,
        property: u8,
        value: i32,
    },
    Rename {
        node: u16,
        name: u8,
    },
    Unset {
        node: u16,
        property: u8,
    },
    Batch(Vec<Edit>),
    Load {
        nodes: u8,
    },
    Undo,
    Redo,
    /// Undoes the last own command of one of three clients.
    UndoMine {
        force: bool,
    },
    RedoMine {
        force: bool,
    },
    /// Expects that the command's subjects have not changed in the last `ago` events.
    Expecting {
        ago: u8,
        edit: Box<Edit>,
    },
}

/// Returns a strategy for commands.
pub fn edit() -> BoxedStrategy<Edit> {
    prop_oneof![
        20 => graph_edit(),
        2 => proptest::collection::vec(graph_edit(), 0..5).prop_map(Edit::Batch),
        1 => (0..8_u8).prop_map(|nodes| Edit::Load { nodes }),
        4 => Just(Edit::Undo),
        3 => Just(Edit::Redo),
        3 => proptest::bool::weighted(0.3).prop_map(|force| Edit::UndoMine { force }),
        2 => proptest::bool::weighted(0.3).prop_map(|force| Edit::RedoMine { force }),
        1 => (any::<u8>(), graph_edit()).prop_map(|(ago, edit)| Edit::Expecting { ago, edit: Box::new(edit) }),
    ]
    .boxed()
}

fn graph_edit() -> BoxedStrategy<Edit> {
    let place = || proptest::option::of(0..4_u8);
    let parent = || proptest::option::weighted(0.7, any::<u16>());
    prop_oneof![
        8 => (proptest::option::of(0..40_u8), parent(), place())
            .prop_map(|(id, parent, index)| Edit::Create { id, parent, index }),
        2 => any::<u16>().prop_map(Edit::Delete),
        4 => (any::<u16>(), parent(), place()).prop_map(|(node, parent, index)| Edit::Move { node, parent, index }),
        2 => (any::<u16>(), 0..4_u8).prop_map(|(node, index)| Edit::Reorder { node, index }),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(child, parent)| Edit::Link { child, parent }),
        1 => any::<u16>().prop_map(Edit::Unlink),
        6 => (any::<u16>(), 0..3_u8, any::<i32>())
            .prop_map(|(node, property, value)| Edit::Set { node, property, value }),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(node, name)| Edit::Rename { node, name }),
        1 => (any::<u16>(), 0..3_u8).prop_map(|(node, property)| Edit::Unset { node, property }),
    ]
    .boxed()
}

/// Returns a strategy for faults.
pub fn fault() -> impl Strategy<Value = FaultKind> {
    use FaultKind::{AppendConflict, AppendDelay, AppendError, AppendUnknown, PanicApply, PanicBroadcast, PanicDecide};
    proptest::sample::select(vec![
        PanicDecide,
        PanicApply,
        PanicBroadcast,
        AppendError,
        AppendConflict,
        AppendUnknown,
        AppendDelay,
    ])
}
