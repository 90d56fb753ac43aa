//! The binary's command line and configuration.

use std::fs;

use tempfile::TempDir;
use toml_edit::DocumentMut;

use crate::binary::{Ended, command, end, run};

fn folder(file: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("hub.toml"), file).expect("written");
    dir
}

/// Asserts that a configuration is refused: code 3, and one line for each fault with its words.
fn assert_faults(ended: &Ended, faults: &[&[&str]]) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), faults.len(), "{ended:?}");
    for (line, words) in lines.iter().zip(faults) {
        assert!(line.starts_with("error: "), "{line}");
        for word in *words {
            assert!(line.contains(word), "{word} is missing: {line}");
        }
    }
}

/// Each layer overrides the layer before, key by key. `config print` prints the result with every key and comment.
#[tokio::test]
async fn config_layers_are_flag_environment_file_defaults() {
    let dir =
        folder("[server]\nhost = \"0.0.0.0\"\nport = 1\n\n[data]\ndir = \"from file\"\n\n[limits]\ndepth_max = 7\n");
    let printed = end(command(&dir)
        .args(["config", "print", "--config", "hub.toml", "--port", "3"])
        .env("TALUS_HUB_SERVER__PORT", "2")
        .env("TALUS_HUB_DATA__DIR", "from environment")
        .env("TALUS_HUB_CORS__ORIGINS", "https://a.example, https://b.example"))
    .await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    let toml: DocumentMut = printed.stdout.parse().expect("TOML");
    let value = |section: &str, key: &str| toml[section][key].to_string().trim().to_owned();
    for (section, key, expected) in [
        ("server", "port", "3"),
        ("data", "dir", "\"from environment\""),
        ("server", "host", "\"0.0.0.0\""),
        ("limits", "depth_max", "7"),
        ("limits", "name_chars_max", "512"),
        ("cors", "origins", r#"["https://a.example", "https://b.example"]"#),
    ] {
        assert_eq!(value(section, key), expected, "{section}.{key}");
    }
    assert!(
        printed.stdout.contains("# The TCP port to listen on"),
        "the output has the comments"
    );

    fs::write(dir.path().join("printed.toml"), &printed.stdout).expect("written");
    let again = end(command(&dir)
        .env_clear()
        .args(["config", "print", "--config", "printed.toml"]))
    .await;
    assert_eq!(again.stdout, printed.stdout, "the output is a configuration");
}

/// `config check` accepts a valid configuration and creates no files.
#[tokio::test]
async fn config_check_accepts_valid_file_and_writes_nothing() {
    let dir = folder("[server]\nport = 1\n");
    let checked = end(command(&dir).args(["config", "check", "--config", "hub.toml"])).await;
    assert_eq!(
        (checked.code, checked.stdout.as_str(), checked.stderr.as_str()),
        (Some(0), "configuration is valid\n", "")
    );
    assert_eq!(
        fs::read_dir(dir.path()).expect("readable").count(),
        1,
        "no data directory"
    );
}

/// A refusal lists every fault, with key, value, source and allowed values, for each subcommand.
#[tokio::test]
async fn config_refusal_lists_every_fault() {
    let file = "[server]\nprot = 1\nport = 70000\n\n[log]\nformat = \"xml\"\n\n[limits]\ndepth_max = \"deep\"\n\n[nonsense]\nx = 1\n";
    let faults: &[&[&str]] = &[
        &["`limits.depth_max`", "\"deep\"", "hub.toml", "a whole number"],
        &["`log.format`", "\"xml\"", "hub.toml", "auto, text, json"],
        &["`nonsense`", "hub.toml", "the sections are"],
        &["`server.port`", "70000", "hub.toml", "0 to 65535"],
        &["`server.prot`", "hub.toml", "port"],
        &["`server.host`", "a b", "TALUS_HUB_SERVER__HOST", "host name"],
        &["`server.prot`", "TALUS_HUB_SERVER__PROT", "port"],
        &["`data.dir`", "--data-dir", "directory"],
    ];
    for what in [&[][..], &["run"], &["config", "check"], &["config", "print"]] {
        let dir = folder(file);
        let ended = end(command(&dir)
            .args(what)
            .args(["--config", "hub.toml", "--data-dir", ""])
            .env("TALUS_HUB_SERVER__HOST", "a b")
            .env("TALUS_HUB_SERVER__PROT", "1"))
        .await;
        assert_faults(&ended, faults);
    }
}

/// An unreadable or malformed configuration file is named with the position of the fault. A default file that does not
/// exist is ignored.
#[tokio::test]
async fn config_file_that_cannot_be_read_is_named() {
    let dir = folder("[server]\nport = \n");
    let check_file = async |file: &str, words: &[&str]| {
        assert_faults(
            &end(command(&dir).args(["config", "check", "--config", file])).await,
            &[words],
        );
    };
    check_file("nowhere.toml", &["nowhere.toml", "cannot read"]).await;
    check_file(".", &["cannot read"]).await;
    check_file("hub.toml", &["hub.toml", "not valid TOML", "line 2"]).await;
    let default_file = end(command(&dir).args(["config", "check"])).await;
    assert_eq!(default_file.code, Some(0), "{default_file:?}");
}

/// An unknown variable with the hub's prefix is refused, because the operator expects an effect. Other variables are
/// ignored.
#[tokio::test]
async fn unknown_variable_with_prefix_is_refused() {
    let dir = folder("");
    for (variable, words) in [
        (
            "TALUS_HUB_SERVER__PROT",
            &["`server.prot`", "TALUS_HUB_SERVER__PROT"][..],
        ),
        ("TALUS_HUB_NONSENSE__PORT", &["nonsense", "two underscores"]),
        ("TALUS_HUB_SERVER_PORT", &["two underscores"]),
        ("TALUS_HUB_PORT", &["port"]),
    ] {
        assert_faults(
            &end(command(&dir).args(["config", "check"]).env(variable, "1")).await,
            &[words],
        );
    }
    for variable in ["TALUS_HUBX__PORT", "TALUS", "SERVER__PORT", "PATH"] {
        let ended = end(command(&dir).args(["config", "check"]).env(variable, "1")).await;
        assert_eq!(ended.code, Some(0), "{variable}: {ended:?}");
    }
}

/// `--help` lists commands, flags and exit codes, and `--version` the version.
#[tokio::test]
async fn help_lists_commands_flags_and_exit_codes() {
    let help = run(&["--help"]).await;
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for word in [
        "run",
        "config",
        "--config <FILE>",
        "--host",
        "--port",
        "--data-dir <DIR>",
        "--log-format",
        "Exit codes:",
        "  4  cannot listen",
    ] {
        assert!(help.stdout.contains(word), "{word} is missing in\n{}", help.stdout);
    }
    let version = run(&["--version"]).await;
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (Some(0), concat!("talus-hub ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

/// A wrong command line exits with code 2 and the usage on standard error.
#[tokio::test]
async fn wrong_command_line_exits_with_2() {
    for args in [
        &["--prot", "1"][..],
        &["--port", "70000"],
        &["--port", "x"],
        &["--log-format", "xml"],
        &["walk"],
        &["config"],
        &["run", "x"],
    ] {
        let ended = run(args).await;
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{args:?}: {ended:?}"
        );
        assert!(ended.stderr.contains("--help"), "{args:?}: {ended:?}");
    }
}
