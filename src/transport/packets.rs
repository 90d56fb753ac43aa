//! Event packets of clients whose JSON is malformed.
//!
//! The library takes such a packet for an attack and closes the connection. To most clients it is one wrong call: some
//! serializers write `NaN`. It is replaced by a well-formed packet of an event of the hub's own, with the same namespace
//! and the same acknowledgement, whose handler answers it.

use serde_json::value::RawValue;

/// Event that stands for a malformed one. Its payload is a text: what is wrong.
pub const MALFORMED_EVENT: &str = "hub:malformed";

/// Separates packets in the body of a post.
const SEPARATOR: u8 = 0x1e;

/// Type of a message among the packets of Engine.IO.
const MESSAGE: u8 = b'4';

/// Body of a post in which every event packet can be answered.
#[must_use]
pub fn answerable_body(body: Vec<u8>) -> Vec<u8> {
    let packets = || body.split(|byte| *byte == SEPARATOR);
    if packets().all(|packet| replacement(packet).is_none()) {
        return body;
    }
    let packets: Vec<Vec<u8>> = packets().map(|packet| answerable(packet.to_vec())).collect();
    packets.join(&SEPARATOR)
}

/// The same packet, or another one that can be answered.
pub(super) fn answerable(packet: Vec<u8>) -> Vec<u8> {
    replacement(&packet).unwrap_or(packet)
}

fn replacement(packet: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(packet).ok()?;
    let (head, json) = split_event(text)?;
    let fault = fault(json)?;
    let event = serde_json::to_string(&(MALFORMED_EVENT, fault)).ok()?;
    Some(format!("{head}{event}").into_bytes())
}

/// Divides an event packet into what precedes its JSON, and that, as the library does:
/// `<type>[<attachments>-][<namespace>,][<acknowledgement>]<JSON>`. `None`: it is no event packet.
fn split_event(packet: &str) -> Option<(&str, &str)> {
    let bytes = packet.as_bytes();
    let mut at = match bytes {
        [MESSAGE, b'2', ..] => 2,
        [MESSAGE, b'5', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            2 + (rest.get(digits) == Some(&b'-')).then_some(digits)? + 1
        }
        _ => return None,
    };
    if bytes.get(at) == Some(&b'/') {
        at += bytes[at..].iter().position(|byte| *byte == b',')? + 1;
    }
    at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    matches!(bytes.get(at), Some(b'[' | b'{')).then(|| packet.split_at(at))
}

/// Why a text is no list that begins with the name of an event, if it is none.
fn fault(json: &str) -> Option<String> {
    if let Err(error) = serde_json::from_str::<&RawValue>(json) {
        return Some(format!("malformed JSON: {error}"));
    }
    let name = json.strip_prefix('[').unwrap_or_default();
    match serde_json::Deserializer::from_str(name).into_iter::<String>().next() {
        Some(Ok(_)) => None,
        _ => Some("an event begins with its name, a text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(packet: &str) -> Option<String> {
        replacement(packet.as_bytes()).map(|packet| String::from_utf8(packet).expect("UTF-8"))
    }

    /// P9: malformed JSON becomes an event of the hub's, with the namespace, the attachments and the acknowledgement kept.
    #[test]
    fn packets_with_malformed_json_are_replaced() {
        for json in [
            r#"["command:execute",{"a":NaN}]"#,
            r#"["command:execute",-Infinity]"#,
            r#"["command:execute",01]"#,
            r#"["command:execute",{"a":1,}]"#,
            r#"["command:execute",[1,]]"#,
            r#"["command:execute",{'a':1}]"#,
            r#"["command:execute""#,
            r#"["command:execute",{}]x"#,
            r#"["command:execute",+1]"#,
            r#"["command:execute",.5]"#,
            r#"["command:execute",undefined]"#,
            "[\"command:execute\",\"\t\"]",
            "[1,2]",
            "[]",
            r#"[{"a":1}]"#,
            r#"["\ud800",{}]"#,
            "[NaN]",
            "{bad}",
            r#"{"a":1}"#,
        ] {
            for head in ["42/graph,", "42/graph,12", "42", "427", "451-/graph,3", "42/a/b?c=d,9"] {
                let replaced = replaced(&format!("{head}{json}")).unwrap_or_else(|| format!("{head}{json} is kept"));
                let rest = replaced.strip_prefix(head).expect("the head is kept");
                let event: (String, String) = serde_json::from_str(rest).expect("a name and a text");
                assert_eq!(event.0, MALFORMED_EVENT);
            }
        }
    }

    /// P1: everything else is passed on to the letter.
    #[test]
    fn packets_that_are_well_formed_or_no_events_are_kept() {
        for packet in [
            r#"42/graph,12["command:execute",{"a":1e400,"b":"\ud800"}]"#,
            r#"42/graph,["x"]"#,
            r#"42["é" , null ]"#,
            r#"451-/graph,["x",{"_placeholder":true,"num":0}]"#,
            r#"40/graph,{"session_id":NaN}"#,
            "43/graph,12[NaN]",
            "41/graph,",
            "2probe",
            "3",
            "42/graph",
            "42/graph,12",
            "42",
            "4",
            "",
            "45[NaN]",
        ] {
            assert_eq!(replaced(packet), None, "{packet}");
        }
        let deep = format!("42[\"x\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(replaced(&deep), None);
    }

    /// P1, P9: of several packets in a post only those are replaced that need it.
    #[test]
    fn posts_keep_their_other_packets() {
        let body = "3\u{1e}42/graph,1[\"x\",NaN]\u{1e}42/graph,2[\"y\"]";
        let answered = String::from_utf8(answerable_body(body.into())).expect("UTF-8");
        let packets: Vec<&str> = answered.split('\u{1e}').collect();
        assert_eq!((packets.len(), packets[0], packets[2]), (3, "3", "42/graph,2[\"y\"]"));
        assert!(
            packets[1].starts_with("42/graph,1[\"hub:malformed\","),
            "{}",
            packets[1]
        );
        assert_eq!(answerable_body(b"3\x1e2".to_vec()), b"3\x1e2");
    }
}
