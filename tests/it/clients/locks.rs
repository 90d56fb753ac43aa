//! The lock files of the clients: exact versions, and no word of where they are downloaded from.

use std::{fs, path::Path};

use serde_json::Value;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)).expect(name)
}

#[test]
fn lock_files_name_no_address() {
    for name in ["package-lock.json", "requirements.txt", "package.json", ".npmrc"] {
        let text = file(name);
        assert!(!text.contains("://"), "{name} has an address");
        assert!(!text.contains("\"resolved\""), "{name} says where a package was found");
    }
    // So that the next npm install keeps it so.
    assert!(
        file(".npmrc")
            .lines()
            .any(|line| line == "omit-lockfile-registry-resolved=true")
    );
}

#[test]
fn every_package_is_pinned() {
    let lock: Value = serde_json::from_str(&file("package-lock.json")).expect("JSON");
    let packages = lock["packages"].as_object().expect("an object");
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(
            package["version"].is_string() && package["integrity"].is_string(),
            "{name}"
        );
    }
    assert!(packages.contains_key("node_modules/socket.io-client"));
    let direct: Value = serde_json::from_str(&file("package.json")).expect("JSON");
    for kind in ["dependencies", "devDependencies"] {
        for (name, version) in direct[kind].as_object().expect(kind) {
            let exact = version
                .as_str()
                .expect(name)
                .chars()
                .all(|char| char.is_ascii_digit() || char == '.');
            assert!(exact, "{name} {version} is no exact version");
        }
    }
    let requirements = file("requirements.txt");
    let lines: Vec<&str> = requirements.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.iter().any(|line| line.starts_with("python-socketio==")));
    for line in lines {
        assert!(
            line.split_once("==").is_some_and(|(_, version)| !version.is_empty()),
            "{line}"
        );
    }
}
