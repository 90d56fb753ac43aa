//! The lock files of the clients: exact versions, and no word of where they are downloaded from.

use std::{fs, path::Path};

use serde_json::Value;

/// The folders that have packages of JavaScript.
const FOLDERS: [&str; 2] = ["tests/clients", "docs"];

/// What lies in them and names packages.
const PACKAGES: [&str; 4] = [
    "tests/clients/package.json",
    "docs/package.json",
    "docs/client/package.json",
    "docs/examples/live/package.json",
];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&file(name)).expect(name)
}

/// The packages of a lock file that are installed from elsewhere: those of the folder itself have no version.
fn locked(folder: &str) -> Vec<(String, Value)> {
    let mut lock = json(&format!("{folder}/package-lock.json"));
    let packages = lock["packages"].as_object_mut().expect("an object");
    let entries = std::mem::take(packages).into_iter();
    entries
        .filter(|(name, package)| name.starts_with("node_modules/") && package["link"] != true)
        .collect()
}

#[test]
fn lock_files_name_no_address() {
    for folder in FOLDERS {
        for (name, mut package) in locked(folder) {
            // Where its makers can be thanked is not where it was found.
            package.as_object_mut().expect("an object").remove("funding");
            let text = package.to_string();
            assert!(!text.contains("://"), "{folder}: {name} has an address");
            assert!(
                package.get("resolved").is_none(),
                "{folder}: it says where {name} was found"
            );
        }
        // So that the next npm install keeps it so.
        let npmrc = file(&format!("{folder}/.npmrc"));
        assert!(!npmrc.contains("://"), "{folder}/.npmrc has an address");
        assert!(npmrc.lines().any(|line| line == "omit-lockfile-registry-resolved=true"));
    }
    for name in PACKAGES.into_iter().chain(["tests/clients/requirements.txt"]) {
        assert!(!file(name).contains("://"), "{name} has an address");
    }
}

#[test]
fn every_package_is_pinned() {
    for folder in FOLDERS {
        let packages = locked(folder);
        for (name, package) in &packages {
            assert!(
                package["version"].is_string() && package["integrity"].is_string(),
                "{folder}: {name}"
            );
        }
        assert!(packages.iter().any(|(name, _)| name == "node_modules/socket.io-client"));
    }
    for name in PACKAGES {
        let direct = json(name);
        for kind in ["dependencies", "devDependencies"] {
            for (package, version) in direct[kind].as_object().into_iter().flatten() {
                let exact = version
                    .as_str()
                    .expect(package)
                    .chars()
                    .all(|char| char.is_ascii_digit() || char == '.');
                assert!(exact, "{name}: {package} {version} is no exact version");
            }
        }
    }
    let requirements = file("tests/clients/requirements.txt");
    let lines: Vec<&str> = requirements.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.iter().any(|line| line.starts_with("python-socketio==")));
    for line in lines {
        assert!(
            line.split_once("==").is_some_and(|(_, version)| !version.is_empty()),
            "{line}"
        );
    }
}

/// What is published needs what a front end has anyway, and nothing more.
#[test]
fn the_library_depends_on_nothing_but_the_socket() {
    let package = json("docs/client/package.json");
    let names: Vec<&String> = package["dependencies"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["socket.io-client"]);
}
