//! Broadcast actor of a room: owns the sockets, encodes each publication once, and queues it at each socket.
//!
//! The session's actor is the only sender, so the order of a room is the order of its mailbox, and a join falls between
//! two publications. Each room has its own actor, so a large or slow room delays no other room (P7). The actor decides
//! nothing about the session and no command waits for it: a failed room fails no command (P10).
//!
//! All decisions are made by a synchronous machine (`broadcast_actor::machine`). The actor hands it messages and the
//! time, and performs its outputs: timers, credits for the session, long encodings.

mod machine;
mod presence;
mod socket_shutdown;
mod subscriber;
mod sync_limiter;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::Span;

use crate::{
    clock::{instant, now},
    domain::ids::Timestamp,
    fan_out::{CommandNotice, Encoder, Member, MemberId, Room, Sync, SyncBody},
    reply::Reply,
    session_actor::SessionMessage,
    stats::Stats,
};

pub(crate) use presence::list;
pub use socket_shutdown::{CloseReason, SocketShutdown};

use self::{
    machine::{Moment, Output, Outputs, RoomMachine, Timer},
    sync_limiter::SYNC_CHECK_INTERVAL,
};

/// Messages of a broadcast actor.
pub enum BroadcastMessage {
    /// Publishes commands of one group in log order, each with its outcome.
    Commands {
        /// Commands with their outcomes.
        outcomes: Vec<CommandOutcome>,
        /// Session that gets the delivery credits back; `None`: no session counts them.
        session: Option<ActorRef<SessionMessage>>,
    },
    /// Adds a socket, which gets the sync. The other members are notified.
    Join(Member, Arc<Sync>),
    /// Sends a sync to a member.
    Resync(MemberId, Arc<Sync>),
    /// Takes over a socket from the room's previous actor. The socket gets the sync, and the other members are not
    /// notified.
    Adopt(Member, Arc<Sync>),
    /// Notes that the presence state of a member changed.
    PresenceChanged(MemberId),
    /// Lists the members.
    ListMembers(Reply<Vec<Member>>),
    /// Removes a socket.
    Leave(MemberId, Arc<str>, Timestamp),
    /// Sends the reason to every socket and releases all sockets.
    Close(SocketShutdown),
    /// Sends every socket the `seq` of the last event, at the end of a tick interval.
    Tick,
    /// Checks whether deferred large syncs can be granted.
    CheckSyncs,
    /// Publishes the gathered changes of presence.
    PublishPresence,
    /// Panics, on an operator's request.
    Fail,
}

/// Command with its outcome, for publication.
pub struct CommandOutcome {
    /// Outcome of the command.
    pub notice: CommandNotice,
    /// Span of the command, from edge to fan-out.
    pub span: Span,
    /// Delivery credits that the command took: one for each socket in the room.
    pub credits: usize,
}

/// Settings of the rooms.
#[derive(Debug, Clone)]
pub struct RoomSettings {
    /// Delay between the first event since the last tick and the next tick.
    pub tick_interval: Duration,
    /// Maximum size of a batched packet in bytes, unless a single command is larger.
    pub events_packet_bytes_max: usize,
    /// Bytes of large syncs in flight to the sockets of one room, at most.
    pub sync_bytes_in_flight_max: usize,
    /// Delivery credits of a session: undelivered (command, socket) pairs of its room, at most. A session without
    /// credits takes no further command until the room has caught up.
    pub deliveries_waiting_max: usize,
    /// Interval between two publications of presence.
    pub presence_interval: Duration,
    /// Listed clients of a session, at most.
    pub presence_clients_max: usize,
}

/// Arguments of a broadcast actor.
pub struct BroadcastArguments {
    /// Identity of the room.
    pub room: Room,
    /// Encoder of packets.
    pub encoder: Arc<dyn Encoder>,
    /// Settings of the hub's rooms.
    pub settings: Arc<RoomSettings>,
    /// Metrics that the actor updates.
    pub stats: Arc<Stats>,
}

/// Behaviour of a broadcast actor; see the [module](self).
pub struct BroadcastActor;

/// State of a broadcast actor: its machine, and what the machine's outputs need.
pub struct BroadcastState {
    machine: RoomMachine,
    myself: ActorRef<BroadcastMessage>,
    /// Session that took the delivery credits.
    session: Option<ActorRef<SessionMessage>>,
    settings: Arc<RoomSettings>,
}

impl Actor for BroadcastActor {
    type Msg = BroadcastMessage;
    type State = BroadcastState;
    type Arguments = BroadcastArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: BroadcastArguments,
    ) -> Result<BroadcastState, ActorProcessingErr> {
        Ok(BroadcastState {
            settings: Arc::clone(&arguments.settings),
            machine: RoomMachine::new(arguments),
            myself,
            session: None,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: BroadcastMessage,
        state: &mut BroadcastState,
    ) -> Result<(), ActorProcessingErr> {
        if let BroadcastMessage::Commands { session, .. } = &message {
            state.count_credits_for(session.as_ref());
        }
        let mut outputs = Outputs::default();
        state.machine.handle(message, moment(), &mut outputs);
        state.perform(outputs).await;
        while state.machine.is_publishing() {
            // Lets the sockets send: a group may have more packets than a queue has room for, and must not make a fast
            // socket lag.
            tokio::task::yield_now().await;
            let mut outputs = Outputs::default();
            state.machine.advance(&mut outputs);
            state.perform(outputs).await;
        }
        Ok(())
    }
}

fn moment() -> Moment {
    Moment {
        now: now(),
        instant: instant(),
    }
}

impl BroadcastState {
    /// Performs the outputs of the machine in order.
    async fn perform(&mut self, outputs: Outputs) {
        let mut queue = VecDeque::from(outputs);
        while let Some(output) = queue.pop_front() {
            match output {
                Output::Reply(send) => send(),
                Output::ReturnCredits(deliveries) => {
                    if let Some(session) = &self.session {
                        // A session that has stopped needs no credits.
                        let _ = session.cast(SessionMessage::RoomDelivered(deliveries));
                    }
                }
                Output::SetTimer(timer) => self.set_timer(timer),
                Output::Encode(pending) => {
                    let body = encode(
                        self.machine.encoder(),
                        self.machine.room().clone(),
                        Arc::clone(&pending.sync),
                    );
                    let mut outputs = Outputs::default();
                    self.machine.encoded(pending, &body.await, moment(), &mut outputs);
                    queue.extend(outputs);
                }
            }
        }
    }

    fn set_timer(&self, timer: Timer) {
        let (delay, message): (_, fn() -> BroadcastMessage) = match timer {
            Timer::Tick => (self.settings.tick_interval, || BroadcastMessage::Tick),
            Timer::CheckSyncs => (SYNC_CHECK_INTERVAL, || BroadcastMessage::CheckSyncs),
            Timer::PublishPresence => (self.settings.presence_interval, || BroadcastMessage::PublishPresence),
        };
        self.myself.send_after(delay, message);
    }

    /// Notes the session to which credits are returned. The credits of a failed session ended with it.
    fn count_credits_for(&mut self, session: Option<&ActorRef<SessionMessage>>) {
        let known = self.session.as_ref().map(|session| session.get_id());
        if known != session.map(|session| session.get_id()) {
            self.session = session.cloned();
            self.machine.forget_credits();
        }
    }
}

/// Encodes a long sync on a blocking thread: the room waits, other rooms do not.
async fn encode(encoder: Arc<dyn Encoder>, room: Room, sync: Arc<Sync>) -> SyncBody {
    match tokio::task::spawn_blocking(move || encoder.sync_body(&room, &sync)).await {
        Ok(body) => body,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}
