//! The documented defaults, the structs and the printed file have the same keys and values.

use std::collections::BTreeSet;

use toml_edit::DocumentMut;

use super::given;
use crate::config::schema::Schema;
use crate::config::{Config, DEFAULT_TOML};

#[test]
fn defaults_comment_every_key() {
    let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
    let (mut keys, mut undocumented) = (0, Vec::new());
    for (above, line) in lines.iter().zip(&lines[1..]) {
        if !line.is_empty() && !line.starts_with(['#', '[']) {
            keys += 1;
            let comment = above.strip_prefix("# ").unwrap_or_default();
            if comment.len() < 20 || !comment.ends_with('.') && !comment.ends_with('"') {
                undocumented.push(line);
            }
        }
    }
    assert_eq!(
        keys,
        Schema::of_defaults().entries().count(),
        "every key is on its own line"
    );
    assert!(undocumented.is_empty(), "{undocumented:#?}");
}

#[test]
fn defaults_state_units() {
    let mut above = String::new();
    for line in DEFAULT_TOML.lines() {
        if line.starts_with('#') {
            above.push_str(line);
            continue;
        }
        let above = std::mem::take(&mut above);
        let name = line.split(" = ").next().expect("split gives at least one part");
        for (ending, unit) in [
            ("_ms", "milliseconds"),
            ("_bytes_max", "bytes"),
            ("_chars_max", "characters"),
        ] {
            assert!(
                !name.ends_with(ending) || above.contains(unit),
                "{line:?} does not say {unit}: {above}"
            );
        }
    }
}

#[test]
fn defaults_match_struct_fields() {
    let structs = toml_edit::ser::to_document(&Config::default()).expect("a configuration can be serialised");
    let mut of_structs = BTreeSet::new();
    for (section, keys) in structs.iter() {
        let keys = keys.as_table_like().expect("a section is a table");
        of_structs.extend(keys.iter().map(|(name, _)| format!("{section}.{name}")));
    }
    let of_defaults: BTreeSet<String> = Schema::of_defaults().entries().map(|(key, _)| key).collect();
    assert_eq!(of_structs, of_defaults);
}

#[test]
fn defaults_match_protocol_limits() {
    let Config {
        server,
        limits,
        realtime,
        ..
    } = Config::default();
    assert_eq!(server.body_bytes_max, 1 << 20);
    assert_eq!((limits.name_chars_max, limits.value_bytes_max), (512, 64 << 10));
    assert_eq!((limits.properties_per_node_max, limits.depth_max), (256, 256));
    assert_eq!(
        (limits.nodes_per_session_max, limits.batch_commands_max),
        (100_000, 1000)
    );
    assert_eq!((limits.undo_depth_max, limits.replay_window_events), (1000, 10_000));
    assert_eq!(limits.replay_window_bytes_max, 16 << 20);
    assert_eq!(limits.in_flight_per_session_max, 1024);
    assert_eq!(
        (
            realtime.sockets_per_session_max,
            realtime.outgoing_packets_per_socket_max
        ),
        (10_000, 1024)
    );
}

#[test]
fn defaults_print_unchanged() {
    assert_eq!(
        Config::default().to_toml().expect("the defaults can be printed"),
        DEFAULT_TOML
    );
}

#[test]
fn printed_configuration_loads_unchanged() {
    let config = given()
        .variable("TALUS_HUB_SERVER__PORT", "0")
        .variable("TALUS_HUB_REALTIME__ENABLED", "false")
        .variable("TALUS_HUB_DATA__DIR", "a \"quoted\" \\ dir")
        .variable("TALUS_HUB_CORS__ORIGINS", "https://a.example,https://b.example")
        .variable("TALUS_HUB_LOG__FORMAT", "json")
        .loaded();
    let printed = config.to_toml().expect("a loaded configuration can be printed");
    assert_eq!(given().file(&printed).loaded(), config);
    assert_ne!(config, Config::default());
    let document: DocumentMut = printed.parse().expect("what is printed is TOML");
    let comment = document["server"]
        .as_table()
        .and_then(|server| server.key("port"))
        .and_then(|port| port.leaf_decor().prefix());
    let comment = comment
        .and_then(|prefix| prefix.as_str())
        .expect("the key has something above it");
    assert!(comment.starts_with("# The TCP port"), "{comment}");
}
