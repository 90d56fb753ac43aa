//! Parsers of what clients send, each as a function of bytes that panics if something is wrong. Included by the fuzz
//! targets, one binary each, and by the tests of the hub.

#![allow(dead_code, reason = "each binary has one of these functions")]

use std::{fmt::Display, str::FromStr};

use talus_actors::domain::{
    ids::{ClientId, CommandId, Epoch, NodeId, ProjectId, SessionId, TemplateId},
    limits::Limits,
};
use talus_hub::{
    projects::{Strictness, import, parse_document, template_in_force, vocabulary},
    socket::Auth,
    templates::read_template,
    transport::{Kind, MALFORMED_EVENT, Message, MessageReader, Violation, answerable_body},
    wire::{
        command::{HistoryRequest, read_command},
        error::ApiError,
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
    ("frames", frames),
    ("post", post),
    ("connect", connect),
];

/// Levels of JSON in a document, as `limits.json_depth_max` has them.
const DEPTH_MAX: usize = 1_024;

/// Longest text of an answer to what was refused, in bytes: an error quotes, and must not be a way to make much of little.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// P9: what is refused is the sender's fault, has a known code, and an answer of bounded length.
fn refused<T>(read: Result<T, ApiError>) -> Option<T> {
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
    let _ = template_in_force(&document);
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

/// Reads all that there is, in parts of so many bytes, in turn. Tells the messages, and why no more is read.
fn read_in_parts(mut bytes: &[u8], sizes: &[u8], bytes_max: usize) -> (Vec<Message>, Option<Violation>) {
    let (mut reader, mut messages) = (MessageReader::new(bytes_max), Vec::new());
    let mut sizes = sizes.iter().map(|size| usize::from(*size).max(1)).cycle();
    while !bytes.is_empty() {
        let (mut now, later) = bytes.split_at(sizes.next().unwrap_or(usize::MAX).min(bytes.len()));
        bytes = later;
        loop {
            let read = reader.read(&mut now);
            // Memory is taken in steps that double, the least of 8 bytes.
            assert!(
                reader.held_bytes() <= (2 * bytes_max).max(8),
                "{} bytes",
                reader.held_bytes()
            );
            match read {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
        assert!(now.is_empty(), "all bytes are taken");
    }
    (messages, None)
}

/// P9: websocket frames of a client: a limit on messages, a list of sizes, and the bytes. However they are divided, the
/// messages are the same, and none is larger than the limit.
pub fn frames(data: &[u8]) {
    let Some((&[limit, sizes], rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let bytes_max = 4 * usize::from(limit);
    let (sizes, bytes) = rest.split_at(usize::from(sizes % 16).min(rest.len()));
    let whole = read_in_parts(bytes, &[], bytes_max);
    assert_eq!(read_in_parts(bytes, sizes, bytes_max), whole);
    assert_eq!(read_in_parts(bytes, &[1], bytes_max), whole);
    for Message { kind, payload } in whole.0 {
        let max = if matches!(kind, Kind::Text | Kind::Binary) {
            bytes_max
        } else {
            125
        };
        assert!(payload.len() <= max, "{kind:?} of {} bytes", payload.len());
    }
}

/// Longest packet that stands for a malformed one, without the head that it keeps, in bytes.
const REPLACEMENT_BYTES_MAX: usize = 256;

/// Longest auth payload that is passed on, in bytes, as the hub's default has it.
const AUTH_BYTES_MAX: usize = 4_096;

/// P1, P9: body of a post by long polling: packets stay as they are, or are replaced by one that is not much longer, and
/// that is not replaced again.
pub fn post(data: &[u8]) {
    let answerable = answerable_body(data.to_vec(), AUTH_BYTES_MAX);
    let packets = |body: &[u8]| body.split(|byte| *byte == 0x1e).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (sent, kept) = (packets(data), packets(&answerable));
    assert_eq!(sent.len(), kept.len(), "no packet is lost");
    for (sent, kept) in sent.iter().zip(&kept).filter(|(sent, kept)| sent != kept) {
        let kept = std::str::from_utf8(kept).expect("the hub writes UTF-8");
        if kept.starts_with("40") {
            // A namespace without a comma is cut, and gets one.
            assert!(
                kept.len() <= sent.len().min(AUTH_BYTES_MAX + REPLACEMENT_BYTES_MAX),
                "{kept}"
            );
            continue;
        }
        // A namespace may look like the beginning of a list; behind the list's own there are no bare quotation marks.
        let (head, json) = kept.split_at(kept.rfind(r#"["hub:malformed","#).expect("a list"));
        assert!(sent.starts_with(head.as_bytes()), "{kept}");
        let (event, _): (String, String) = serde_json::from_str(json).expect("the hub writes JSON");
        assert_eq!(event, MALFORMED_EVENT);
        assert!(json.len() <= REPLACEMENT_BYTES_MAX, "{json}");
    }
    assert_eq!(answerable_body(answerable.clone(), AUTH_BYTES_MAX), answerable);
}

/// P9: what a connection says of itself, as JSON and, behind a line break, as a query: it is let in as what it says, or
/// refused with a word.
pub fn connect(data: &[u8]) {
    let (auth, query) = text(data).split_once('\n').unwrap_or((text(data), ""));
    let auth = serde_json::from_str::<Auth>(auth)
        .unwrap_or_default()
        .or_query(Some(query));
    for late_join in [false, true] {
        match auth.admitted(late_join) {
            Ok(admitted) => {
                assert!(late_join || admitted.session_id.is_some());
                id::<ClientId>(&admitted.client_id.to_string());
            }
            Err(refused) => {
                let word = refused.to_string();
                assert!(
                    word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                    "{word}"
                );
            }
        }
    }
}
