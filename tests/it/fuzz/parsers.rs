//! Fuzz targets of `tests/fuzz` over their seeds and a bounded number of mutations.

use std::{fs, path::Path};

use super::{malformed, random::Random};
use crate::support::ROOT;

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Number of mutations of each seed.
const MUTATIONS: usize = 100;

/// Folders with further seeds, by target.
const MORE: &[(&str, &str)] = &[("template", "config/templates"), ("graph", "tests/fixtures")];

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let own = format!("tests/fuzz/seeds/{name}");
    let more = MORE.iter().filter(|(target, _)| *target == name);
    let mut seeds = Vec::new();
    for folder in more.map(|(_, folder)| *folder).chain([own.as_str()]) {
        for file in fs::read_dir(Path::new(ROOT).join(folder)).expect(folder) {
            seeds.push(fs::read(file.expect("a file").path()).expect("readable"));
        }
    }
    assert!(!seeds.is_empty(), "{name} has seeds");
    seeds
}

/// P9: no input of a client makes a parser panic, answer without bound, or report an error of the hub.
#[test]
fn parsers_survive_mutated_seeds() {
    for (name, target) in targets::TARGETS {
        let mut random = Random::new(name.len() as u64);
        for seed in seeds(name) {
            target(&seed);
            for _ in 0..MUTATIONS {
                let mut input = malformed::bytes(&mut random, &seed);
                target(&input);
                // Half of the mutations are mutated once more.
                if random.chance(50) {
                    input = malformed::bytes(&mut random, &input);
                    target(&input);
                }
            }
        }
    }
}

/// Each target is a binary of `cargo fuzz` too, and has seeds.
#[test]
fn targets_are_binaries_with_seeds() {
    let names = |folder: &str| {
        let files = fs::read_dir(Path::new(ROOT).join("tests/fuzz").join(folder)).expect(folder);
        let mut names: Vec<String> = files
            .map(|file| {
                file.expect("a file")
                    .path()
                    .file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    let mut targets: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    targets.sort_unstable();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
    let manifest = fs::read_to_string(Path::new(ROOT).join("tests/fuzz/Cargo.toml")).expect("a manifest");
    for name in targets {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}
