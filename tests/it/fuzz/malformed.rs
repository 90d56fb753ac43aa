//! Malformed input, made from well-formed input.

use serde_json::{Value, json};

use super::random::Random;

const TOKENS: &[&str] = &[
    "NaN",
    "-Infinity",
    "01",
    ",",
    "]",
    "}",
    "{",
    "[",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "-",
    "1e999",
    "\u{1e}",
    ":",
    "\u{feff}",
    "{\"_placeholder\":true,\"num\":0}",
    "//",
    "\u{0}",
];

/// Mutates a few bytes: cuts, repeats, flips bits, inserts tokens.
pub fn bytes(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            3 => {
                let end = (at + 1 + random.below(20)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.splice(at..at, random.pick(TOKENS).bytes())),
        }
    }
    bytes
}

/// Mutates a text, and keeps it UTF-8.
pub fn text(random: &mut Random, text: &str) -> String {
    String::from_utf8_lossy(&bytes(random, text.as_bytes())).into_owned()
}

/// Returns a command with a field of the wrong type, or one that is missing, too large or too deep.
pub fn command(random: &mut Random, command: &Value) -> Value {
    let mut wrong = command.clone();
    let odd_value = odd_value(random);
    match random.below(5) {
        0 => wrong["command_type"] = odd_value,
        1 => wrong["data"] = odd_value,
        2 => wrong[*random.pick(&["command_id", "expected_seq", "session_id"])] = odd_value,
        _ => {
            let Some(data) = wrong["data"].as_object_mut().filter(|data| !data.is_empty()) else {
                return odd_value;
            };
            let keys: Vec<String> = data.keys().cloned().collect();
            let key = random.pick(&keys).clone();
            if random.chance(30) {
                data.remove(&key);
            } else {
                data.insert(key, odd_value);
            }
        }
    }
    wrong
}

/// Returns a value that hardly any field allows.
pub fn odd_value(random: &mut Random) -> Value {
    match random.below(10) {
        0 => json!(-1),
        1 => json!(u64::MAX),
        2 => json!([]),
        3 => json!({}),
        4 => json!("\u{0}"),
        5 => json!("x".repeat(600)),
        6 => (0..80).fold(json!(0), |inner, _| json!([inner])),
        7 => json!("00000000-0000-0000-0000-000000000000"),
        8 => json!(1.5),
        _ => Value::Null,
    }
}

/// Returns a packet of Engine.IO and Socket.IO, often malformed.
pub fn packet(random: &mut Random) -> String {
    let payload = json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task"}});
    let good = match random.below(8) {
        0 => "40/graph,{}".to_owned(),
        1 => format!("42/graph,7{}", json!(["command:execute", payload])),
        2 => format!("42/graph,{}", json!(["presence:update", {"state": 1}])),
        3 => format!("42/graph,8{}", json!(["session:resync", {"seq": 0}])),
        4 => format!(
            "451-/graph,9{}",
            json!(["command:execute", {"_placeholder": true, "num": 0}])
        ),
        5 => format!("43/graph,1{}", json!([1])),
        6 => format!("42/graph,5{}", json!(["leave_session", {}])),
        _ => "2probe".to_owned(),
    };
    if random.chance(15) { good } else { text(random, &good) }
}

/// Returns the head of a request and some of its body, often malformed.
pub fn head(random: &mut Random) -> Vec<u8> {
    let good = *random.pick(&[
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /api/v1/sessions?limit=3 HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n",
        "POST /api/v1/commands/execute HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        "POST /api/v1/commands/execute HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ]);
    if random.chance(10) {
        good.into()
    } else {
        bytes(random, good.as_bytes())
    }
}
