//! Precedence of the layers, and the accessors of a loaded configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::given;
use crate::config::{Config, LogFormat};

#[test]
fn layers_override_key_by_key() {
    assert_eq!(given().loaded().server.port, 5000);
    let file = given().file("[server]\nport = 5001\nhost = \"file.example\"\nbody_bytes_max = 7\n");
    assert_eq!(file.loaded().server.port, 5001);
    let environment = file
        .variable("TALUS_HUB_SERVER__PORT", "5002")
        .variable("TALUS_HUB_SERVER__HOST", "environment.example");
    assert_eq!(environment.loaded().server.port, 5002);
    let flags = environment.flag("--port", "server.port", "5003");
    let server = flags.loaded().server;
    assert_eq!(
        (server.port, server.host.as_str(), server.body_bytes_max),
        (5003, "environment.example", 7)
    );
    assert_eq!(
        server.request_timeout_ms, 30_000,
        "a key that no layer sets keeps its default"
    );
}

#[test]
fn flag_overrides_file_without_environment() {
    let config = given()
        .file("[log]\nformat = \"json\"\n")
        .flag("--log-format", "log.format", "text")
        .loaded();
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn environment_sets_every_type() {
    let config = given()
        .variable("TALUS_HUB_REALTIME__ENABLED", "false")
        .variable("TALUS_HUB_LIMITS__DEPTH_MAX", "12")
        .variable("TALUS_HUB_DATA__DIR", "007")
        .variable("TALUS_HUB_CORS__ORIGINS", "https://a.example, http://b.example:8080")
        .loaded();
    assert!(!config.realtime.enabled);
    assert_eq!(config.limits.depth_max, 12);
    assert_eq!(
        config.data.dir,
        Path::new("007"),
        "a directory that looks like a number keeps its name"
    );
    assert_eq!(config.cors.origins, ["https://a.example", "http://b.example:8080"]);
}

#[test]
fn environment_list_replaces_file_list() {
    let file = given().file("[cors]\norigins = [\"https://a.example\", \"https://b.example\"]\n");
    let replaced = file.variable("TALUS_HUB_CORS__ORIGINS", "https://c.example");
    assert_eq!(replaced.loaded().cors.origins, ["https://c.example"]);
    let emptied = replaced.variable("TALUS_HUB_CORS__ORIGINS", "");
    assert!(emptied.loaded().cors.origins.is_empty());
}

#[test]
fn environment_ignores_other_prefixes() {
    let config = given()
        .variable("SERVER__PORT", "1")
        .variable("TALUS_HUBSERVER__PORT", "2")
        .loaded();
    assert_eq!(config, Config::default());
}

#[test]
fn durations_are_milliseconds() {
    let config = given()
        .file("[sessions]\nrestart_backoff_ms = 0\nidle_timeout_ms = 1_500\n")
        .loaded();
    assert_eq!(config.sessions.idle_timeout(), Duration::from_millis(1500));
    assert_eq!(config.sessions.restart_backoff(), Duration::ZERO);
    assert_eq!(config.server.request_timeout(), Duration::from_secs(30));
    assert_eq!(config.server.shutdown_grace(), Duration::from_secs(10));
}

#[test]
fn projects_dir_is_relative_to_data_dir() {
    let relative = given().flag("--data-dir", "data.dir", "/var/hub");
    assert_eq!(relative.loaded().projects_dir(), PathBuf::from("/var/hub/projects"));
    let absolute = relative.variable("TALUS_HUB_PROJECTS__DIR", "/srv/projects");
    assert_eq!(absolute.loaded().projects_dir(), PathBuf::from("/srv/projects"));
}
