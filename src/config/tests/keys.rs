//! Faults of keys, files and sections, with their texts.

use std::collections::HashMap;

use super::given;
use crate::config::{Config, Sources};

#[test]
fn unknown_key_is_refused_with_known_keys() {
    assert_eq!(
        given().file("[data]\ndirectory = \"x\"\n").fault(),
        "unknown key `data.directory` (FILE): [data] has dir, storage"
    );
    assert_eq!(
        given().variable("TALUS_HUB_PROJECTS__FILE_MAX", "1").fault(),
        "unknown key `projects.file_max` (TALUS_HUB_PROJECTS__FILE_MAX): [projects] has dir, file_bytes_max"
    );
    let sections =
        "the sections are cors, data, limits, log, ops, projects, realtime, rest, server, sessions, templates";
    assert_eq!(
        given().file("[sever]\n").fault(),
        format!("unknown key `sever` (FILE): {sections}")
    );
    assert_eq!(
        given().file("port = 1\n").fault(),
        format!("unknown key `port` (FILE): {sections}")
    );
}

#[test]
fn variable_with_single_underscore_gets_a_hint() {
    let fault = given().variable("TALUS_HUB_SERVER_PORT", "1").fault();
    assert!(
        fault.starts_with("unknown key `server_port` (TALUS_HUB_SERVER_PORT): "),
        "{fault}"
    );
    assert!(
        fault.ends_with("; two underscores stand between section and key"),
        "{fault}"
    );
}

#[test]
fn variable_below_a_key_is_unknown() {
    let fault = given().variable("TALUS_HUB_SERVER__PORT__NUMBER", "1").fault();
    assert!(
        fault.starts_with("unknown key `server.port.number` (TALUS_HUB_SERVER__PORT__NUMBER): "),
        "{fault}"
    );
}

#[test]
fn section_cannot_be_a_value() {
    assert_eq!(
        given().variable("TALUS_HUB_SERVER", "x").fault(),
        r#"`server` = "x" (TALUS_HUB_SERVER): is a section, not a key"#
    );
    assert_eq!(
        given().file("server = 1\n").fault(),
        "`server` = 1 (FILE): is a section, not a key"
    );
    assert_eq!(
        given().file("[server.port]\nnumber = 1\n").fault(),
        "`server.port` = a table (FILE): must be a whole number"
    );
}

#[test]
fn faults_of_all_layers_are_reported_together() {
    let given = given()
        .file("[server]\nport = -1\nprot = 1\n\n[\"new\\nline\"]\n")
        .variable("TALUS_HUB_LIMITS__DEPTH_MAX", "0")
        .variable("TALUS_HUB_LOG__LEVEL", "in\nfo")
        .flag("--host", "server.host", "a b");
    let faults = given.faults();
    let keys = [
        "new\\nline",
        "server.port",
        "server.prot",
        "limits.depth_max",
        "log.level",
        "server.host",
    ];
    assert_eq!(faults.len(), keys.len(), "{faults:#?}");
    for (fault, key) in faults.iter().zip(keys) {
        assert!(
            fault.contains(&format!("`{key}`")) && !fault.contains('\n'),
            "{fault:?} names {key}"
        );
    }
    let text = given.load().expect_err("an invalid configuration").to_string();
    assert_eq!(text.lines().count(), keys.len());
}

#[test]
fn file_fault_counts_under_an_override() {
    let fault = given()
        .file("server.port = -1")
        .variable("TALUS_HUB_SERVER__PORT", "1")
        .fault();
    assert!(fault.starts_with("`server.port` = -1 (FILE)"), "{fault}");
}

#[test]
fn toml_syntax_error_is_one_line() {
    let fault = given().file("[server]\nport = \n").fault();
    assert!(
        fault.starts_with("\"FILE\" is not valid TOML: TOML parse error at line 2, column 8: "),
        "{fault}"
    );
    assert!(!fault.contains(['\n', '|', '^']), "{fault}");
    let twice = given().file("[server]\nport = 1\nport = 2\n").fault();
    assert!(twice.contains("line 3") && twice.contains("duplicate key"), "{twice}");
}

#[test]
fn missing_file_is_refused_without_other_extensions() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("hub.toml"), "[server]\nport = 1\n").expect("the file can be written");
    let path = directory.path().join("hub");
    let sources = Sources {
        file: Some(path.clone()),
        environment: Some(HashMap::new()),
        flags: Vec::new(),
    };
    let error = Config::load(&sources).expect_err("there is no such file");
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot read the configuration file {path:?}: ")),
        "{error}"
    );
}
