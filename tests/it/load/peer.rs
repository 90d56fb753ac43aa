//! The peer that the hub is compared with: exact versions, and no word of where they are downloaded from.

use std::{fs, path::Path};

use serde_json::Value;

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/peers/node");
    fs::read_to_string(folder.join(name)).expect(name)
}

#[test]
fn its_packages_are_pinned_and_name_no_address() {
    for name in ["package-lock.json", "package.json", ".npmrc"] {
        assert!(!file(name).contains("://"), "{name} has an address");
    }
    // So that the next npm install keeps it so.
    let npmrc = file(".npmrc");
    assert!(npmrc.lines().any(|line| line == "omit-lockfile-registry-resolved=true"));
    let lock: Value = serde_json::from_str(&file("package-lock.json")).expect("JSON");
    let packages = lock["packages"].as_object().expect("an object");
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(
            package["version"].is_string() && package["integrity"].is_string(),
            "{name}"
        );
        assert!(package.get("resolved").is_none(), "it says where {name} was found");
    }
    assert!(packages.contains_key("node_modules/socket.io") && packages.contains_key("node_modules/express"));
}
