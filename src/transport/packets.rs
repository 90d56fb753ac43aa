//! Packets of clients that are replaced before they reach the library.
//!
//! **Connect packets that are too long.** The library repeats the name of an unknown namespace to the client, and
//! bounds the waiting packets of a polling client by their number and not by their bytes. It keeps the payload while
//! the client is admitted. Long names are cut, and a long payload is replaced by a payload that is refused.
//!
//! **Event packets whose JSON is malformed.** The library takes such a packet as an attack and closes the connection.
//! For most clients the packet is one wrong call: some serializers write `NaN`. The packet is replaced by a well-formed
//! packet of an event of the hub, with the same namespace and the same acknowledgement, and the event's handler answers
//! it.

use serde_json::value::RawValue;

/// Name of the event that replaces a malformed event. Its payload is a text that describes the error.
pub const MALFORMED_EVENT: &str = "hub:malformed";

/// Payload that replaces an auth payload that is too long.
pub const OVERSIZED_AUTH: &str = r#"{"hub:oversized":true}"#;

/// Longest name of a namespace that reaches the library, in bytes. The name of the only namespace has six.
const NAMESPACE_BYTES_MAX: usize = 64;

/// Separates packets in the body of a post.
const SEPARATOR: u8 = 0x1e;

/// Prefix of a connect packet: types of Engine.IO and of Socket.IO.
const CONNECT: &str = "40";

/// Engine.IO type of a message.
const MESSAGE: u8 = b'4';

/// Returns the body of a post with its malformed event packets and its long connect packets replaced. An auth payload
/// has at most `auth_bytes_max` bytes.
#[must_use]
pub fn answerable_body(body: Vec<u8>, auth_bytes_max: usize) -> Vec<u8> {
    let packets = || body.split(|byte| *byte == SEPARATOR);
    if packets().all(|packet| replacement(packet, auth_bytes_max).is_none()) {
        return body;
    }
    let packets: Vec<Vec<u8>> = packets()
        .map(|packet| replace_packet(packet.to_vec(), auth_bytes_max))
        .collect();
    packets.join(&SEPARATOR)
}

/// Returns the packet, or its replacement if the packet is a malformed event or a long connect packet.
pub(super) fn replace_packet(packet: Vec<u8>, auth_bytes_max: usize) -> Vec<u8> {
    replacement(&packet, auth_bytes_max).unwrap_or(packet)
}

fn replacement(packet: &[u8], auth_bytes_max: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(packet).ok()?;
    match text.strip_prefix(CONNECT) {
        Some(rest) => shorten_connect(rest, auth_bytes_max).map(String::into_bytes),
        None => replace_event(text),
    }
}

/// Returns the replacement of a connect packet `40[<namespace>,][<payload>]`, given without its `40`. `None` if the
/// packet is short enough.
fn shorten_connect(rest: &str, auth_bytes_max: usize) -> Option<String> {
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

fn replace_event(text: &str) -> Option<Vec<u8>> {
    let (head, json) = split_event(text)?;
    let error = event_error(json)?;
    let event = serde_json::to_string(&(MALFORMED_EVENT, error)).ok()?;
    Some(format!("{head}{event}").into_bytes())
}

/// Splits an event packet before its JSON, as the library does:
/// `<type>[<attachments>-][<namespace>,][<acknowledgement>]<JSON>`. `None` if the packet is no event.
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

/// Describes the error of a text that is no list with the name of an event as its first item. `None` if the text is
/// well-formed.
fn event_error(json: &str) -> Option<String> {
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

    /// P9: malformed JSON becomes an event of the hub, with the namespace, the attachments and the acknowledgement
    /// kept.
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

    /// P1: all other packets pass unchanged, byte for byte.
    #[test]
    fn well_formed_packets_and_other_types_pass_unchanged() {
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

    /// P1, P9: a post keeps its well-formed packets.
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

    /// P9: a long name is cut at a character boundary, and a long payload is replaced. Short ones are kept.
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
