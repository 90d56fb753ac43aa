//! Parsers of what clients send, each as a function of bytes that panics if something is wrong. Included by the fuzz
//! targets, one binary each, and by the tests of the hub.

#![allow(dead_code, reason = "each binary has one of these functions")]

use std::{fmt::Display, str::FromStr};

use talus_actors::domain::{
    ids::{ClientId, CommandId, Epoch, NodeId, ProjectId, SessionId, TemplateId},
    limits::Limits,
};
use talus_hub::{
    projects::{Strictness, import, parse_document, template_of, vocabulary},
    templates::read_template,
    wire::{
        command::{HistoryRequest, read_command},
        error::Failure,
        graph::graph_json,
        request::{event_payload, read, stream_position},
    },
};

/// A parser, by the name of its target and of its folder of seeds.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("command", command),
    ("history", history),
    ("ids", ids),
    ("graph", graph),
    ("template", template),
    ("stream_position", stream_position_of),
    ("payload", payload),
];

/// Levels of JSON in a document, as `limits.json_depth_max` has them.
const DEPTH_MAX: usize = 1_024;

/// Longest text of an answer to what was refused, in bytes: an error quotes, and must not be a way to make much of little.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// P9: what is refused is the sender's fault, has a known code, and an answer of bounded length.
fn refused<T>(read: Result<T, Failure>) -> Option<T> {
    read.inspect_err(|failure| {
        assert!((400..500).contains(&failure.status()), "{failure:?}");
        assert!(failure.body().to_string().len() < ANSWER_BYTES_MAX, "{}", failure.code);
    })
    .ok()
}

/// Body of `POST /commands/execute`, payload of `command:execute`.
pub fn command(data: &[u8]) {
    refused(read_command(text(data)));
}

/// Body of an undo or redo.
pub fn history(data: &[u8]) {
    let Some(request) = refused(read::<HistoryRequest>("", text(data))) else {
        return;
    };
    refused(request.command_id());
    refused(request.undo());
    refused(request.redo());
}

/// P6: an id is written as it is read.
fn id<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert!(
            id.to_string().parse::<T>().is_ok_and(|again| again == id),
            "{text:?} is {id}"
        );
    }
}

/// Every kind of id, in paths, bodies and headers.
pub fn ids(data: &[u8]) {
    let text = text(data);
    id::<ClientId>(text);
    id::<CommandId>(text);
    id::<Epoch>(text);
    id::<NodeId>(text);
    id::<ProjectId>(text);
    id::<SessionId>(text);
    id::<TemplateId>(text);
}

/// P6: a graph that is taken, from a request or a project's file, is the same graph when it is written and read again.
pub fn graph(data: &[u8]) {
    let Ok(document) = parse_document(data, DEPTH_MAX) else {
        return;
    };
    let _ = template_of(&document);
    let limits = Limits::default();
    let _ = import(document.clone(), vocabulary(None), &limits, Strictness::Request);
    let Ok(imported) = import(document, vocabulary(None), &limits, Strictness::File) else {
        return;
    };
    let written = format!(r#"{{"graph":{}}}"#, graph_json(&imported.graph));
    let document = parse_document(written.as_bytes(), 2 * DEPTH_MAX).expect("what the hub writes is JSON");
    let again = import(document, vocabulary(None), &limits, Strictness::Request).expect("what the hub writes it reads");
    assert_eq!(again.graph.state_hash(), imported.graph.state_hash(), "{written}");
}

/// File of a template.
pub fn template(data: &[u8]) {
    if let Ok(id) = "fuzzed".parse::<TemplateId>() {
        let _ = read_template(&id, text(data));
    }
}

/// `Last-Event-ID` of a reader that comes back.
pub fn stream_position_of(data: &[u8]) {
    refused(stream_position(text(data)));
}

/// Packet of a Socket.IO event, without its head.
pub fn payload(data: &[u8]) {
    if let Some(payload) = refused(event_payload(text(data))) {
        command(payload.as_bytes());
        history(payload.as_bytes());
    }
}
