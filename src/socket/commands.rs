//! Commands over the socket. The acknowledgement is what REST would have answered.
//!
//! The library gives every packet to a task of its own, so what is to stay in order has to be on its way before a handler
//! returns: handlers here are not async, and give the command to the lane of the socket's session at once.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use socketioxide::{adapter::LocalAdapter, extract::TryData};
use talus_actors::domain::{
    command::{Command, Context, Origin},
    ids::SessionId,
};
use tracing::Instrument;

use super::{Edge, ack::Ack, joining::place_for_answer, memberships::Memberships};
use crate::{
    tracked::{Tracked, context},
    wire::{
        answer::CommandAnswer,
        command::{HistoryRequest, ReadCommand, read_command},
        error::Failure,
        request::{id, read},
    },
};

/// A packet of a client as it stands there: a list of the event's name and what was sent with it. Asked for anything else
/// the library would read it, with limits of its own; this is read like a body of REST.
pub(super) type Payload = TryData<Box<RawValue>>;

/// A payload that may name the session that it is about.
#[derive(Deserialize)]
struct About {
    session_id: Option<String>,
}

/// A command that can be sent on, or what is wrong with it.
type Wanted = Result<(Option<SessionId>, Command, Context), Failure>;

impl Edge {
    /// `command:execute`
    pub(super) fn execute(
        &self,
        of: &Memberships,
        payload: Payload,
        ack: Ack<LocalAdapter>,
    ) -> impl Future<Output = ()> + use<> {
        let wanted = read_command(&text(payload)).map(|request| {
            let ReadCommand {
                session_id,
                command,
                command_id,
                expected_seq,
            } = request;
            (session_id, command, context(command_id, origin(of), expected_seq))
        });
        self.submit(of, wanted, ack)
    }

    /// `command:undo`
    pub(super) fn undo(
        &self,
        of: &Memberships,
        payload: Payload,
        ack: Ack<LocalAdapter>,
    ) -> impl Future<Output = ()> + use<> {
        self.submit(of, history(of, &text(payload), HistoryRequest::undo), ack)
    }

    /// `command:redo`
    pub(super) fn redo(
        &self,
        of: &Memberships,
        payload: Payload,
        ack: Ack<LocalAdapter>,
    ) -> impl Future<Output = ()> + use<> {
        self.submit(of, history(of, &text(payload), HistoryRequest::redo), ack)
    }

    /// Puts a command on its way before this returns; what it returns waits for the answer.
    fn submit(&self, of: &Memberships, wanted: Wanted, ack: Ack<LocalAdapter>) -> impl Future<Output = ()> + use<> {
        let permit = place_for_answer(of);
        let sent = permit.as_ref().map_err(Failure::clone).and_then(|_| {
            let (session_id, command, context) = wanted?;
            let membership = of.named(session_id)?;
            let tracked = Tracked::begin(membership.session_id, &command, &context);
            let submitted = membership.lane.submit(Arc::new(command), context, tracked.span.clone());
            Ok((tracked, submitted))
        });
        let (metrics, wait) = (self.metrics.clone(), self.realtime.slow_consumer_retry());
        async move {
            let answer: Result<CommandAnswer, Failure> = match sent {
                Ok((tracked, submitted)) => {
                    let span = tracked.span.clone();
                    tracked.end(&metrics, submitted.instrument(span).await)
                }
                Err(failure) => Err(failure),
            };
            ack.answer(answer, wait, permit.ok()).await;
        }
    }
}

fn history(of: &Memberships, text: &str, command: fn(&HistoryRequest) -> Result<Command, Failure>) -> Wanted {
    let request: HistoryRequest = read("", text)?;
    let context = context(request.command_id()?, origin(of), request.expected_seq);
    Ok((session_of(text)?, command(&request)?, context))
}

fn origin(of: &Memberships) -> Origin {
    Origin {
        client_id: Some(of.client_id.clone()),
        user: None,
    }
}

/// The session that a payload names.
pub(super) fn session_of(text: &str) -> Result<Option<SessionId>, Failure> {
    let about: About = read("", text)?;
    about.session_id.map(|text| id("", "session_id", &text)).transpose()
}

/// What was sent with an event, as JSON. Nothing at all, or null, stands for an object without fields.
pub(super) fn text(TryData(packet): Payload) -> String {
    let sent: Vec<&RawValue> = packet
        .as_deref()
        .ok()
        .and_then(|packet| serde_json::from_str(packet.get()).ok())
        .unwrap_or_default();
    match sent.get(1).map(|sent| sent.get()) {
        None | Some("null") => "{}".to_owned(),
        Some(text) => text.to_owned(),
    }
}
