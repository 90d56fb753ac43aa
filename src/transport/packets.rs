//! Packets of clients that are replaced before the library has them.
//!
//! **Connect packets that are too long.** The library repeats the name of a namespace that there is not, and counts what
//! waits for a client that polls in packets and not in bytes; what comes with a name is kept while its client is let in.
//! A name is cut, and a payload replaced by one that is refused.
//!
//! **Event packets whose JSON is malformed.** The library takes such a packet for an attack and closes the connection. To most clients it is one wrong call: some
//! serializers write `NaN`. It is replaced by a well-formed packet of an event of the hub's own, with the same namespace
//! and the same acknowledgement, whose handler answers it.

use serde_json::value::RawValue;

/// Event that stands for a malformed one. Its payload is a text: what is wrong.
pub const MALFORMED_EVENT: &str = "hub:malformed";

/// Payload of a connect packet that stands for one that is too long.
pub const OVERSIZED_AUTH: &str = r#"{"hub:oversized":true}"#;

/// Longest name of a namespace that is passed on, in bytes. There is one, of six.
const NAMESPACE_BYTES_MAX: usize = 64;

/// Separates packets in the body of a post.
const SEPARATOR: u8 = 0x1e;

/// Types of a packet that connects to a namespace.
const CONNECT: &str = "40";

/// Type of a message among the packets of Engine.IO.
const MESSAGE: u8 = b'4';

/// Body of a post in which every event packet can be answered and every connect packet is short. An auth payload has at
/// most so many bytes.
#[must_use]
pub fn answerable_body(body: Vec<u8>, auth_bytes_max: usize) -> Vec<u8> {
    let packets = || body.split(|byte| *byte == SEPARATOR);
    if packets().all(|packet| replacement(packet, auth_bytes_max).is_none()) {
        return body;
    }
    let packets: Vec<Vec<u8>> = packets()
        .map(|packet| answerable(packet.to_vec(), auth_bytes_max))
        .collect();
    packets.join(&SEPARATOR)
}

/// The same packet, or another one that can be answered and is short.
pub(super) fn answerable(packet: Vec<u8>, auth_bytes_max: usize) -> Vec<u8> {
    replacement(&packet, auth_bytes_max).unwrap_or(packet)
}

fn replacement(packet: &[u8], auth_bytes_max: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(packet).ok()?;
    match text.strip_prefix(CONNECT) {
        Some(rest) => short_connect(rest, auth_bytes_max).map(String::into_bytes),
        None => answerable_event(text),
    }
}

/// Connect packet in the place of one that is too long, of which this is `[<namespace>,][<payload>]`; `None`: it is short.
fn short_connect(rest: &str, auth_bytes_max: usize) -> Option<String> {
    let named = rest.starts_with('/');
    let (namespace, auth) = match rest.split_once(',') {
        Some((namespace, auth)) if named => (namespace, auth),
        _ if named => (rest, ""),
        _ => ("", rest),
    };
    if namespace.len() <= NAMESPACE_BYTES_MAX && auth.len() <= auth_bytes_max {
        return None;
    }
    let namespace = &namespace[..namespace.floor_char_boundary(NAMESPACE_BYTES_MAX)];
    let auth = if auth.len() > auth_bytes_max {
        OVERSIZED_AUTH
    } else {
        auth
    };
    let comma = if named { "," } else { "" };
    Some(format!("{CONNECT}{namespace}{comma}{auth}"))
}

fn answerable_event(text: &str) -> Option<Vec<u8>> {
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

    const AUTH_BYTES_MAX: usize = 40;

    fn replaced(packet: &str) -> Option<String> {
        replacement(packet.as_bytes(), AUTH_BYTES_MAX).map(|packet| String::from_utf8(packet).expect("UTF-8"))
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
        let answered = String::from_utf8(answerable_body(body.into(), AUTH_BYTES_MAX)).expect("UTF-8");
        let packets: Vec<&str> = answered.split('\u{1e}').collect();
        assert_eq!((packets.len(), packets[0], packets[2]), (3, "3", "42/graph,2[\"y\"]"));
        assert!(
            packets[1].starts_with("42/graph,1[\"hub:malformed\","),
            "{}",
            packets[1]
        );
        assert_eq!(answerable_body(b"3\x1e2".to_vec(), AUTH_BYTES_MAX), b"3\x1e2");
    }

    /// P9: a name is cut at a letter's boundary, and a payload replaced, each where it is too long and nowhere else.
    #[test]
    fn connect_packets_are_shortened() {
        let name = "n".repeat(NAMESPACE_BYTES_MAX - 1);
        let long = "x".repeat(AUTH_BYTES_MAX + 1);
        let fits = "x".repeat(AUTH_BYTES_MAX);
        let oversized = OVERSIZED_AUTH;
        for (packet, wanted) in [
            (format!("40/{name}n,{{}}"), Some(format!("40/{name},{{}}"))),
            (format!("40/{name}n"), Some(format!("40/{name},"))),
            (format!("40/{}é,", &name[1..]), Some(format!("40/{},", &name[1..]))),
            (format!("40/graph,{long}"), Some(format!("40/graph,{oversized}"))),
            (format!("40/{name}n,{long}"), Some(format!("40/{name},{oversized}"))),
            (format!("40{long}"), Some(format!("40{oversized}"))),
            (format!("40/{name},{fits}"), None),
            (format!("40{fits}"), None),
            ("40".to_owned(), None),
            ("40/graph,".to_owned(), None),
        ] {
            assert_eq!(replaced(&packet), wanted, "{packet}");
        }
    }
}
