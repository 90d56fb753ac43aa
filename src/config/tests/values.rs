//! Faults of values, with their texts.

use std::time::Duration;

use super::{given, variable_of};
use crate::config::rules;
use crate::config::schema::Schema;
use crate::config::setting::Setting;

#[test]
fn file_value_of_wrong_type_is_refused() {
    for (text, fault) in [
        (
            "server.port = \"5000\"",
            r#"`server.port` = "5000" (FILE): must be a whole number"#,
        ),
        (
            "server.port = 5000.0",
            "`server.port` = 5000.0 (FILE): must be a whole number",
        ),
        (
            "server.port = true",
            "`server.port` = true (FILE): must be a whole number",
        ),
        (
            "realtime.enabled = 1",
            "`realtime.enabled` = 1 (FILE): must be true or false",
        ),
        (
            "realtime.enabled = \"yes\"",
            r#"`realtime.enabled` = "yes" (FILE): must be true or false"#,
        ),
        ("server.host = 1", "`server.host` = 1 (FILE): must be a string"),
        (
            "cors.origins = \"https://a.example\"",
            r#"`cors.origins` = "https://a.example" (FILE): must be a list of strings"#,
        ),
        (
            "cors.origins = [1, \"a\"]",
            r#"`cors.origins` = [1, "a"] (FILE): must be a list of strings"#,
        ),
    ] {
        assert_eq!(given().file(text).fault(), fault, "{text}");
    }
}

#[test]
fn environment_text_of_wrong_type_is_refused() {
    for (name, value, fault) in [
        (
            "TALUS_HUB_SERVER__PORT",
            "http",
            r#"`server.port` = "http" (TALUS_HUB_SERVER__PORT): must be a whole number"#,
        ),
        (
            "TALUS_HUB_SERVER__PORT",
            "",
            r#"`server.port` = "" (TALUS_HUB_SERVER__PORT): must be a whole number"#,
        ),
        (
            "TALUS_HUB_REALTIME__ENABLED",
            "on",
            r#"`realtime.enabled` = "on" (TALUS_HUB_REALTIME__ENABLED): must be true or false"#,
        ),
    ] {
        assert_eq!(given().variable(name, value).fault(), fault);
    }
}

#[test]
fn number_out_of_range_is_refused() {
    assert_eq!(
        given().file("server.port = 65536").fault(),
        "`server.port` = 65536 (FILE): must be a whole number from 0 to 65535"
    );
    assert_eq!(
        given().variable("TALUS_HUB_SERVER__PORT", "-1").fault(),
        "`server.port` = -1 (TALUS_HUB_SERVER__PORT): must be a whole number from 0 to 65535"
    );
    assert_eq!(
        given().flag("--port", "server.port", "99999").fault(),
        "`server.port` = 99999 (--port): must be a whole number from 0 to 65535"
    );
}

#[test]
fn number_ranges_hold_at_both_ends() {
    let zero_has_a_meaning = [
        "server.port",
        "server.shutdown_grace_ms",
        "server.worker_threads",
        "limits.command_filter_bytes_max",
        "rest.compressions_max",
        "rest.min_seq_wait_ms",
        "sessions.restart_backoff_ms",
    ];
    let mut numbers = 0;
    for (key, default) in Schema::of_defaults().entries() {
        let Setting::Integer(_) = default else { continue };
        numbers += 1;
        let set = |value: i64| rules::check(&key, &Setting::Integer(value));
        assert_eq!(set(0).is_ok(), zero_has_a_meaning.contains(&key.as_str()), "{key} = 0");
        for value in [-1, i64::MIN, i64::MAX] {
            let refusal = set(value).expect_err(&key);
            assert!(
                refusal.starts_with("must be a whole number from "),
                "{key} = {value}: {refusal}"
            );
        }
    }
    assert!(numbers > 0);
}

#[test]
fn number_maxima_fit_their_fields() {
    let schema = Schema::of_defaults();
    let largest = |key: &str| {
        let refusal = rules::check(key, &Setting::Integer(i64::MAX)).expect_err("every number has a largest value");
        refusal
            .rsplit(' ')
            .next()
            .expect("a refusal ends in the largest value")
            .to_owned()
    };
    let numbers = schema
        .entries()
        .filter(|(_, default)| matches!(default, Setting::Integer(_)));
    let given = numbers.fold(given(), |given, (key, _)| {
        given.variable(&variable_of(&key), &largest(&key))
    });
    let config = given.loaded();
    assert_eq!(config.server.port, u16::MAX);
    assert_eq!(config.realtime.reconnect_max(), Duration::from_secs(30 * 24 * 60 * 60));
    assert_eq!(config.limits.undo_bytes_max, 1 << 30);
}

#[test]
fn minimum_above_maximum_is_refused() {
    let contradiction = given().file("realtime.reconnect_min_ms = 9000");
    assert_eq!(
        contradiction.fault(),
        "`realtime.reconnect_min_ms` = 9000: must be at most `realtime.reconnect_max_ms` = 5000"
    );
    assert_eq!(
        given().variable("TALUS_HUB_REST__PAGE_ITEMS_MAX", "50").fault(),
        "`rest.page_items_default` = 100: must be at most `rest.page_items_max` = 50"
    );
    let settled = contradiction.variable("TALUS_HUB_REALTIME__RECONNECT_MAX_MS", "9000");
    assert_eq!(
        settled.loaded().realtime.reconnect_min(),
        settled.loaded().realtime.reconnect_max()
    );
}

#[test]
fn host_is_address_or_name() {
    for host in [
        "127.0.0.1",
        "::1",
        "::",
        "localhost",
        "hub.tracker.example",
        "talus_hub-1",
    ] {
        assert_eq!(
            given().variable("TALUS_HUB_SERVER__HOST", host).loaded().server.host,
            host
        );
    }
    for host in [
        "",
        "127.0.0.1:5000",
        "[::1]",
        "http://hub.example",
        "hub example",
        "256.1.1.1",
        "a..b",
        "-é",
    ] {
        let fault = given().variable("TALUS_HUB_SERVER__HOST", host).fault();
        let expected = format!("`server.host` = {host:?} (TALUS_HUB_SERVER__HOST): must be an IP address");
        assert!(fault.starts_with(&expected), "{fault}");
    }
}

#[test]
fn enumerations_and_directories_are_checked() {
    assert_eq!(
        given().file("log.format = \"xml\"").fault(),
        r#"`log.format` = "xml" (FILE): must be one of auto, text, json"#
    );
    let fault = given().file("log.level = \"inof\"").fault();
    assert!(
        fault.starts_with(r#"`log.level` = "inof" (FILE): "inof" must be a level"#),
        "{fault}"
    );
    for key in ["data.dir", "projects.dir", "templates.dir"] {
        let fault = given().variable(&variable_of(key), "").fault();
        assert!(fault.ends_with("must be the path of a directory"), "{fault}");
    }
}

#[test]
fn cors_origins_refuse_wildcards() {
    let fault = given()
        .variable("TALUS_HUB_CORS__ORIGINS", "https://a.example,*")
        .fault();
    let expected =
        r#"`cors.origins` = ["https://a.example", "*"] (TALUS_HUB_CORS__ORIGINS): "*" is refused: a wildcard"#;
    assert!(fault.starts_with(expected), "{fault}");
}

#[test]
fn server_hosts_refuse_port_and_wildcard() {
    let config = given()
        .variable("TALUS_HUB_SERVER__HOSTS", "hub.example, Hub-2.internal,192.0.2.7")
        .loaded();
    assert_eq!(config.server.hosts, ["hub.example", "Hub-2.internal", "192.0.2.7"]);
    for name in [
        "hub.example:443",
        "https://hub.example",
        "*",
        "*.example",
        ".example",
        "a b",
    ] {
        let fault = given().variable("TALUS_HUB_SERVER__HOSTS", name).fault();
        let expected =
            format!("`server.hosts` = [{name:?}] (TALUS_HUB_SERVER__HOSTS): {name:?} is no host name: each must");
        assert!(fault.starts_with(&expected), "{fault}");
    }
}
