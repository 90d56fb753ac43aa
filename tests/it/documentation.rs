//! Documentation that must match the code.

use std::{collections::BTreeSet, fs, path::Path};

use talus_hub::{config::DEFAULT_TOML, wire};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// Returns the cells of every table row of a page, without backticks.
fn rows(page: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(
            inner
                .split('|')
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect(),
        )
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn protocol_lists_exactly_the_events_of_the_code() {
    let page = page("docs/PROTOCOL.md");
    let is_event = |name: &str| {
        ["graph:", "command:", "session:", "project:", "presence:"]
            .iter()
            .any(|space| name.starts_with(space))
            && !name.contains(' ')
    };
    let written: BTreeSet<(String, bool)> = rows(&page)
        .into_iter()
        .filter(|row| row.len() >= 3 && is_event(&row[0]))
        .map(|row| (row[0].clone(), row[2] == "yes"))
        .collect();
    let coded: BTreeSet<(String, bool)> = wire::event::EVENTS
        .iter()
        .map(|(name, sequenced)| ((*name).to_owned(), *sequenced))
        .collect();
    assert_eq!(written, coded);
}

#[test]
fn protocol_lists_exactly_the_error_codes_of_the_code() {
    let page = page("docs/PROTOCOL.md");
    let written: BTreeSet<(u16, String)> = rows(&page)
        .into_iter()
        .filter_map(|row| Some((row.first()?.parse().ok()?, row.get(1)?.clone())))
        .collect();
    let coded: BTreeSet<(u16, String)> = wire::ErrorCode::ALL
        .iter()
        .map(|code| (code.status(), code.to_string()))
        .collect();
    assert_eq!(written, coded);
}

/// Every relative link of a page leads to a file.
#[test]
fn relative_links_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    let mut ahead = vec![root.join("docs")];
    while let Some(path) = ahead.pop() {
        if path.ends_with("node_modules") {
            // Documentation of installed packages is not ours.
        } else if path.is_dir() {
            ahead.extend(
                fs::read_dir(&path)
                    .expect("readable")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    for page in pages {
        let text = fs::read_to_string(&page).expect("UTF-8");
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, found)| text.split_at(at + found.len()))
        {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = page.parent().expect("in a folder").join(target);
            assert!(file.exists(), "{}: {target} does not exist", page.display());
        }
    }
}

/// The documented proxy configurations are the tested ones.
#[test]
fn operations_show_the_tested_proxy_files() {
    let operations = page("docs/OPERATIONS.md");
    for (name, language) in [
        ("nginx.conf", "nginx"),
        ("haproxy.cfg", "haproxy"),
        ("Caddyfile", "caddyfile"),
    ] {
        let file = page(&format!("docs/proxies/{name}"));
        let shown = format!("```{language}\n{file}```\n");
        assert!(
            operations.contains(&shown),
            "docs/OPERATIONS.md does not show docs/proxies/{name} as it is"
        );
    }
}

/// Every configuration key in the documentation exists.
#[test]
fn documented_configuration_keys_exist() {
    let sections: BTreeSet<&str> = DEFAULT_TOML
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'))
        .collect();
    for name in [
        "README.md",
        "docs/PROTOCOL.md",
        "docs/OPERATIONS.md",
        "docs/DURABILITY.md",
        "docs/ARCHITECTURE.md",
    ] {
        let text = page(name);
        for word in text.split('`').skip(1).step_by(2) {
            let Some((section, key)) = word.split_once('.') else {
                continue;
            };
            let key = key.split([' ', '=']).next().unwrap_or_default();
            let plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !key.is_empty();
            if sections.contains(section) && plain && !["rs", "md", "toml", "json", "yaml"].contains(&key) {
                let line = format!("\n{key} =");
                assert!(
                    DEFAULT_TOML.contains(&line),
                    "{name}: {word} is no key of the configuration"
                );
            }
        }
    }
}
