//! Rules that the compiler does not check: layers of imports, and the contents of the repository.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut ahead = vec![Path::new(ROOT).join(dir)];
    while let Some(path) = ahead.pop() {
        // `tests/fuzz` is a workspace of its own, and its build generates sources.
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            ahead.extend(
                fs::read_dir(&path)
                    .expect("readable")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            found.push((path.strip_prefix(ROOT).expect("below the root").to_owned(), text));
        }
    }
    assert!(!found.is_empty(), "{dir} has sources");
    found
}

/// Returns the lines of code that mention one of the words, without comments.
fn mentions<'a>(text: &'a str, words: &'a [&str]) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines().enumerate().filter(|(_, line)| {
        let code = line.trim_start();
        !code.starts_with("//") && words.iter().any(|word| code.contains(word))
    })
}

fn assert_none(dir: &str, words: &[&str], why: &str) {
    for (path, text) in sources(dir) {
        let found: Vec<_> = mentions(&text, words)
            .map(|(number, line)| format!("{}: {line}", number + 1))
            .collect();
        assert!(found.is_empty(), "{}: {why}\n{}", path.display(), found.join("\n"));
    }
}

/// Modules of the crate that a file names: `crate::a`, and each one of `crate::{a::b, c}`.
fn modules_named(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let name = |text: &str| -> String {
        let letters = text.trim_start().chars();
        letters
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect()
    };
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let named = &code[at + prefix.len()..];
        let Some(list) = named.strip_prefix('{') else {
            found.insert(name(named));
            continue;
        };
        found.insert(name(list));
        let mut depth = 1;
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    found.insert(name(&list[at + 1..]));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn assert_no_imports(dir: &str, modules: &[&str], why: &str) {
    for (path, text) in sources(dir) {
        let named = modules_named(&text);
        for module in modules {
            assert!(!named.contains(*module), "{}: crate::{module}: {why}", path.display());
        }
    }
}

/// Floors 0 to 2: checks beyond the list of dependencies.
#[test]
fn domain_has_no_runtime_and_no_clock() {
    let words = [
        "SystemTime",
        "Instant::now",
        "new_v4",
        "HashMap",
        "HashSet",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "thread_local",
        "println!",
    ];
    assert_none("actors/domain/src", &words, "the domain is pure");
}

#[test]
fn domain_has_only_settled_dependencies() {
    let settled = [
        "ecow",
        "imbl",
        "jiff",
        "proptest",
        "ryu-js",
        "serde",
        "serde_json",
        "sha1",
        "thiserror",
        "uuid",
    ];
    let manifest = fs::read_to_string(Path::new(ROOT).join("actors/domain/Cargo.toml")).expect("readable");
    let mut is_dependencies = false;
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            is_dependencies = section.contains("dependencies");
        } else if is_dependencies && let Some((name, _)) = line.split_once([' ', '.', '=']) {
            assert!(settled.contains(&name), "{name}: the domain has no runtime");
        }
    }
}

#[test]
fn actors_have_no_edge_and_no_disk() {
    let words = ["axum", "socketioxide", "rusqlite", "std::fs", "reqwest", "tower"];
    assert_none("actors/src", &words, "actors see only their ports");
    assert_none("actors/domain/src", &words, "the domain is pure");
}

#[test]
fn floors_import_only_lower_floors() {
    let edges = ["http", "http_kit", "socket", "ops", "app"];
    assert_no_imports("src/wire", &edges, "the wire is below the edges");
    assert_no_imports("src/projects", &edges, "projects are below the edges");
    assert_no_imports("src/projects", &["wire"], "projects have errors of their own");
    assert_no_imports("src/templates", &edges, "files are below the edges");
    for (path, text) in sources("src/config") {
        let named = modules_named(&text);
        let others: Vec<_> = named.iter().filter(|module| *module != "config").collect();
        assert!(
            others.is_empty(),
            "{}: the configuration imports {others:?}",
            path.display()
        );
    }
    assert_no_imports("src/transport", &edges, "transports are below the edges");
    assert_none(
        "src/transport",
        &["talus_actors"],
        "transports know requests, bytes and the library",
    );
    assert_no_imports(
        "src/http_kit",
        &["http", "socket", "ops", "app"],
        "the kit is below the edges",
    );
    assert_no_imports("src/http", &["socket", "ops", "app"], "an edge imports no other edge");
    assert_no_imports("src/ops", &["http", "socket", "app"], "an edge imports no other edge");
    assert_no_imports(
        "src/socket",
        &["http", "http_kit", "ops", "app"],
        "an edge imports no other edge",
    );
    for edge in ["src/http", "src/http_kit", "src/socket"] {
        assert_none(
            edge,
            &["session_supervisor", "ractor"],
            "an edge holds the hub and nothing else",
        );
    }
    assert_none("src/ops", &["ractor"], "an edge holds the hub and nothing else");
}

#[test]
fn state_is_not_shared_by_lock_global_or_thread() {
    let words = [
        "Mutex",
        "RwLock",
        "thread_local!",
        "static mut",
        "OnceLock",
        "OnceCell",
        "lazy_static",
        "LazyLock",
    ];
    assert_none("actors/domain/src", &words, "the domain is pure");
    assert_none("actors/src", &words, "actors own their state");
    assert_none("src", &words, "actors own their state");
}

#[test]
fn top_level_has_only_settled_entries() {
    let settled = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "actors",
        "tests",
        "docs",
        "config",
        "README.md",
        // Files that every repository has.
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "Makefile",
        "clippy.toml",
        "rust-toolchain.toml",
        "rustfmt.toml",
    ];
    let ignored = ["target", "data"];
    for entry in fs::read_dir(ROOT).expect("readable") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let known = settled.contains(&name.as_str()) || ignored.contains(&name.as_str()) || name.starts_with('.');
        assert!(known, "{name}: anything else at the top needs a reason in docs/adr");
    }
}

/// Documentation begins with a verb or with the noun that it describes, so that a reader need not guess the subject.
#[test]
fn documentation_names_its_subject_first() {
    const VAGUE: [&str; 8] = ["what", "whatever", "whether", "who", "whoever", "whom", "where", "how"];
    for dir in ["src", "actors", "tests"] {
        for (path, text) in sources(dir) {
            let (mut is_begun, mut is_code) = (false, false);
            for (number, line) in text.lines().enumerate() {
                let line = line.trim_start();
                let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
                    (is_begun, is_code) = (false, false);
                    continue;
                };
                let doc = doc.trim();
                is_code ^= doc.starts_with("```");
                let first = doc
                    .split(|letter: char| !letter.is_alphabetic())
                    .next()
                    .unwrap_or_default();
                let is_vague = VAGUE.contains(&first.to_lowercase().as_str());
                assert!(
                    is_begun || is_code || !is_vague,
                    "{}:{}: begin with a verb or a noun: {doc}",
                    path.display(),
                    number + 1
                );
                is_begun = !doc.is_empty();
            }
        }
    }
}
