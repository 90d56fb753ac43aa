//! What can happen to a hub: steps that name what they are about by numbers, which mean something whatever the state is.
//! So a plan is a plain list; it can be shortened anywhere, written to a file and run again.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Sessions of a plan. Two: what happens to one must not be seen in the other (P7).
pub const SESSIONS: usize = 2;

/// Clients of a plan; each is of the session of its number, modulo.
pub const CLIENTS: usize = 5;

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A command is sent, and its answer waited for.
    Submit { session: usize, edit: Edit },
    /// Many are sent at once, while something may go wrong.
    Burst {
        session: usize,
        edits: Vec<Edit>,
        fault: Option<FaultKind>,
    },
    /// Something goes wrong with a command; its sender may send it again.
    Fail {
        session: usize,
        fault: FaultKind,
        edit: Edit,
        again: bool,
    },
    /// A command that was sent before is sent again (P4).
    Duplicate { session: usize, which: u16 },
    /// Another command is sent under the id of one that was accepted before (P4).
    Reuse { session: usize, which: u16, edit: Edit },
    /// A client comes, with the place where it was unless it forgot it.
    Join { client: usize, forgetful: bool },
    /// A client goes.
    Leave { client: usize },
    /// A client loses its connection and comes back.
    Bounce { client: usize },
    /// A client reads no more, and so many packets fit into its queue.
    Lag { client: usize, packets: u8 },
    /// It reads again.
    CatchUp { client: usize },
    /// A client says that its copy is wrong.
    Diverge { client: usize },
    /// A session's actor ends and starts again.
    Restart { session: usize },
    /// A session is left alone.
    Quarantine { session: usize },
    /// It serves again.
    Release { session: usize },
    /// A session goes to sleep, if nobody uses it.
    Passivate { session: usize },
    /// The hub goes, and another one comes on the same data.
    DrainAndStart,
}

/// What goes wrong.
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

/// A command, with everything that it names left open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    Create {
        /// One of few ids, so that it comes back after a deletion; else the command makes it.
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
    /// One of the few clients takes its own last command back.
    UndoMine {
        force: bool,
    },
    RedoMine {
        force: bool,
    },
    /// Only if what it touches did not change in the last so many events.
    Expecting {
        ago: u8,
        edit: Box<Edit>,
    },
}

/// Any command.
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

/// Anything that can go wrong.
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
