//! Commands, pending calls, and waiting with a deadline.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{self, Poll, Waker},
};

use talus_actors::{
    clock::now,
    domain::{
        command::{Author, Command, Context, CreateNode, Scope},
        ids::{CommandId, NodeId, Seq},
    },
    hub::HubError,
    random::new_command_id,
    session_actor::{SessionView, Submitted},
};
use tokio::task::JoinHandle;
use tracing::Span;
use uuid::Uuid;

use super::{DEADLINE, Session};

/// Outcome of a command for its sender.
pub type Outcome = Result<Submitted, HubError>;

/// Returns an id that no other node in the process has.
pub fn new_node_id() -> NodeId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NodeId::new(Uuid::from_u64_pair(0xabcd, NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Returns a command that adds a root: two events, the second of which closes the command.
pub fn create_node(node_id: NodeId) -> Command {
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some("a task".into()),
        parent_id: None,
        index: None,
        properties: BTreeMap::new(),
        node_id: Some(node_id),
    })
}

/// Returns a command that is rejected in any state: the node does not exist.
pub fn delete_nothing() -> Command {
    Command::DeleteNode {
        node_id: NodeId::new(Uuid::from_u64_pair(0xdead, 0)),
    }
}

/// Returns a command without effect: an empty batch.
pub fn change_nothing() -> Command {
    Command::Batch { commands: Vec::new() }
}

pub const UNDO: Command = Command::undo(Scope::Session);

pub fn context(command_id: CommandId) -> Context {
    Context {
        command_id,
        author: Author::default(),
        now: now(),
        expected_seq: None,
    }
}

impl Session {
    /// Sends a command under an id.
    pub fn submit_as(&self, command_id: CommandId, command: Command) -> impl Future<Output = Outcome> + Send + 'static {
        let (hub, id) = (self.hub.clone(), self.id);
        async move {
            hub.submit(id, Arc::new(command), context(command_id), Span::none())
                .await
        }
    }

    /// Sends a command under a new id.
    pub fn submit(&self, command: Command) -> impl Future<Output = Outcome> + Send + 'static {
        self.submit_as(new_command_id(), command)
    }

    /// Sends a command that adds a node.
    pub fn add(&self) -> impl Future<Output = Outcome> + Send + 'static {
        self.submit(create_node(new_node_id()))
    }

    /// Adds a node and returns the `seq` after it.
    pub async fn added(&self) -> Seq {
        within(self.add()).await.expect("accepted").receipt.seq
    }

    pub fn snapshot(&self) -> impl Future<Output = Result<SessionView, HubError>> + Send + 'static {
        let (hub, id) = (self.hub.clone(), self.id);
        async move { hub.snapshot(id).await }
    }
}

/// Call whose message is in the mailbox, ahead of the messages of calls that begin later. Dropping the call cancels its
/// caller.
pub struct Underway<T>(JoinHandle<T>);

impl<T: Send + 'static> Underway<T> {
    pub fn begin(call: impl Future<Output = T> + Send + 'static) -> Self {
        let mut call = Box::pin(call);
        let first = call.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
        Self(tokio::spawn(async move {
            match first {
                Poll::Ready(answer) => answer,
                Poll::Pending => call.await,
            }
        }))
    }

    /// Returns true while the answer is pending.
    pub fn is_waiting(&self) -> bool {
        !self.0.is_finished()
    }

    /// Waits for the answer, up to the deadline.
    pub async fn answer(mut self) -> T {
        within(&mut self.0).await.expect("no panic")
    }
}

impl<T> Drop for Underway<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for a future, up to the deadline.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("before the deadline")
}

/// Waits until a condition holds, up to the deadline.
pub async fn until(what: impl Fn() -> bool) {
    within(async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Runs all tasks that can run on the test's thread. An effect that has not happened afterwards waits for another
/// event.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
