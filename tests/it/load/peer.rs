//! Packages of the peer that the hub is compared with: exact versions, and no address of a download.

use std::{fs, path::Path};

use serde_json::Value;

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/peers/node");
    fs::read_to_string(folder.join(name)).expect(name)
}

#[test]
fn peer_packages_are_pinned_without_addresses() {
    for name in ["package-lock.json", "package.json", ".npmrc"] {
        assert!(!file(name).contains("://"), "{name} has an address");
    }
    // The option keeps the next `npm install` from adding addresses.
    let npmrc = file(".npmrc");
    assert!(npmrc.lines().any(|line| line == "omit-lockfile-registry-resolved=true"));
    let lock: Value = serde_json::from_str(&file("package-lock.json")).expect("JSON");
    let packages = lock["packages"].as_object().expect("an object");
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(
            package["version"].is_string() && package["integrity"].is_string(),
            "{name}"
        );
        assert!(
            package.get("resolved").is_none(),
            "{name} has the address of its download"
        );
    }
    assert!(packages.contains_key("node_modules/socket.io") && packages.contains_key("node_modules/express"));
}
