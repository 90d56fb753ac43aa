//! Faults of keys, files and sections, with their texts.

use std::collections::HashMap;

use super::given;
use crate::config::{Config, Sources};

#[test]
fn an_unknown_key_is_refused_with_its_name_its_place_and_the_keys_there_are() {
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
fn a_variable_with_one_underscore_too_few_is_refused_with_a_hint() {
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
fn a_variable_deeper_than_the_keys_is_unknown() {
    let fault = given().variable("TALUS_HUB_SERVER__PORT__NUMBER", "1").fault();
    assert!(
        fault.starts_with("unknown key `server.port.number` (TALUS_HUB_SERVER__PORT__NUMBER): "),
        "{fault}"
    );
}

#[test]
fn a_section_is_no_value() {
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
fn all_faults_of_all_layers_are_reported_at_once_one_line_each() {
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
fn a_fault_in_a_file_counts_even_if_the_environment_hides_it() {
    let fault = given()
        .file("server.port = -1")
        .variable("TALUS_HUB_SERVER__PORT", "1")
        .fault();
    assert!(fault.starts_with("`server.port` = -1 (FILE)"), "{fault}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_line_on_one_line() {
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
fn a_missing_file_is_refused_and_no_other_ending_is_tried() {
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
