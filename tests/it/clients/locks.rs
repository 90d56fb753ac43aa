//! Lock files of the clients: exact versions, and no address of a download.

use std::{fs, path::Path};

use serde_json::Value;

/// Folders with a lock file of npm.
const FOLDERS: [&str; 2] = ["tests/clients", "docs"];

/// Manifests in these folders.
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

/// Returns the packages of a lock file that npm installs. Entries of the folder itself have no version.
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
            // An address for donations is no address of a download.
            package.as_object_mut().expect("an object").remove("funding");
            let text = package.to_string();
            assert!(!text.contains("://"), "{folder}: {name} has an address");
            assert!(
                package.get("resolved").is_none(),
                "{folder}: {name} has the address of its download"
            );
        }
        // The option keeps the next `npm install` from adding addresses.
        let npmrc = file(&format!("{folder}/.npmrc"));
        assert!(!npmrc.contains("://"), "{folder}/.npmrc has an address");
        assert!(npmrc.lines().any(|line| line == "omit-lockfile-registry-resolved=true"));
    }
    for name in PACKAGES.into_iter().chain(["tests/clients/requirements.txt"]) {
        assert!(!file(name).contains("://"), "{name} has an address");
    }
}

#[test]
fn packages_are_all_pinned() {
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

/// The published library depends only on the socket library, which a front end has anyway.
#[test]
fn library_depends_only_on_the_socket() {
    let package = json("docs/client/package.json");
    let names: Vec<&String> = package["dependencies"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["socket.io-client"]);
}
