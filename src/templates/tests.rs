//! Tests of templates on the disk and in the binary.

use std::os::unix::fs::symlink;

use talus_actors::domain::{blueprint::PropertyKind, value::Value};

use super::*;

fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, TemplateStore) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("writes");
    }
    let store = TemplateStore::new(dir.path().to_owned());
    (dir, store)
}

fn id(text: &str) -> TemplateId {
    text.parse().expect(text)
}

const SMALL: &str = "name: Small\nversion: 2\nnode_types:\n- id: root\n  label: Root\n";

#[test]
fn broken_template_is_listed_with_its_fault() {
    let broken = "name: B\nnode_types:\n- id: a\n  label: A\n- id: b\n  properties: []\n";
    let (_dir, store) = store(&[
        ("small.yaml", SMALL),
        ("b.yaml", broken),
        ("x.yaml", ": ["),
        ("notes.txt", ""),
    ]);
    let list = store.list().expect("the folder is readable");
    let told: Vec<_> = list
        .iter()
        .map(|entry| match &entry.template {
            Ok(template) => format!("{} {} {}", entry.id, template.name, template.version),
            Err(error) => format!("{} {}", entry.id, error.to_string().lines().next().unwrap_or_default()),
        })
        .collect();
    assert_eq!(told[0], "b line 5: node_types[1].label: is required");
    assert_eq!(told[1], "small Small 2");
    assert!(told[2].contains("line 1"), "{}", told[2]);
    assert_eq!(told.len(), 3);
}

#[test]
fn template_change_and_byte_order_mark_are_read() {
    let (dir, store) = store(&[("small.yaml", SMALL)]);
    assert_eq!(&*store.load(&id("small")).expect("a template").name, "Small");
    fs::write(
        dir.path().join("small.yaml"),
        format!("\u{feff}{}", SMALL.replace("Small", "Other")),
    )
    .expect("writes");
    assert_eq!(&*store.load(&id("small")).expect("a template").name, "Other");
    assert!(matches!(store.load(&id("none")), Err(TemplateLoadError::NotFound)));
}

#[test]
fn template_over_the_size_limit_is_refused() {
    let (_dir, store) = store(&[("large.yaml", &"#".repeat(1024 * 1024 + 1))]);
    assert!(
        store
            .load(&id("large"))
            .expect_err("too large")
            .to_string()
            .contains("larger than")
    );
}

#[test]
fn template_faults_name_line_and_field() {
    let types = |rest: &str| {
        format!(
            "name: T\nnode_types:\n- id: t\n  label: T\n  properties:\n  - id: p\n    label: P\n    type: text\n{rest}"
        )
    };
    for (text, fault) in [
        ("node_types: []\n".to_owned(), "name: is required"),
        ("name: T\n".to_owned(), "node_types: must have at least one type"),
        (
            types("  - id: p\n    label: Q\n    type: text\n"),
            "line 9: node_types[0].properties[1].id: \"p\" is used twice",
        ),
        (
            types("  - id: q\n    label: Q\n"),
            "line 9: node_types[0].properties[1].type: is required",
        ),
        (
            types("  - {id: q, label: Q, type: date, value: soon}\n"),
            "line 9: node_types[0].properties[1].value: must be a date as YYYY-MM-DD, or an empty string",
        ),
        (
            types("  - {id: q, label: Q, type: select, options: [A, {name: A}]}\n"),
            "line 9: node_types[0].properties[1].options[1].name: \"A\" is used twice",
        ),
        (
            types("  uuid: nonsense\n"),
            "line 3: node_types[0].uuid: \"nonsense\" is not a UUID",
        ),
        (
            types("- {id: t, label: U}\n"),
            "line 9: node_types[1].id: \"t\" is used twice",
        ),
    ] {
        let (_dir, store) = store(&[("t.yaml", &text)]);
        assert_eq!(store.load(&id("t")).expect_err(fault).to_string(), fault, "{text}");
    }
    let (_dir, store) = store(&[("t.yaml", "name: T\nnode_types:\n- id: [1]\n")]);
    let message = store.load(&id("t")).expect_err("a list is no id").to_string();
    assert!(message.contains("line 3") && message.contains("id"), "{message}");
}

#[test]
fn shipped_and_predecessor_templates_load() {
    let own = TemplateStore::new(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/templates")));
    let ids: Vec<_> = own
        .list()
        .expect("they ship")
        .into_iter()
        .map(|entry| (entry.id.to_string(), entry.template.is_ok()))
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|(_, loads)| *loads), "{ids:?}");
    let real = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/templates"));
    if real.is_dir() {
        for TemplateEntry { id, template } in TemplateStore::new(real).list().expect("readable") {
            let loads = template.map(drop).map_err(|error| error.to_string());
            assert_eq!(loads.is_ok(), id.as_str() != "broken_template", "{id}: {loads:?}");
        }
    }
}

fn listed(store: &TemplateStore) -> Vec<(String, String)> {
    let entries = store.list().expect("the directory is readable");
    let told = |template: Result<Arc<Blueprint>, TemplateLoadError>| match template {
        Ok(template) => template.name.to_string(),
        Err(error) => error.to_string(),
    };
    entries
        .into_iter()
        .map(|entry| (entry.id.to_string(), told(entry.template)))
        .collect()
}

fn row(id: &str, told: &str) -> (String, String) {
    (id.to_owned(), told.to_owned())
}

/// P9: an entry that is not a readable file is listed with an error, hides no other entry, and blocks no reader.
#[test]
fn template_entries_that_are_not_files_are_listed() {
    let (dir, store) = store(&[("small.yaml", SMALL)]);
    let path = |name: &str| dir.path().join(name);
    symlink("nowhere", path("dangling.yaml")).expect("linked");
    symlink("small.yaml", path("linked.yaml")).expect("linked");
    fs::create_dir(path("folder.yml")).expect("made");
    fs::write(path("latin.yaml"), b"name: \xfc\n").expect("written");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo.yaml"), rustix::fs::FileType::Fifo, mode, 0).expect("made");
    let expected = [
        row("dangling", "it is a link to a file that does not exist"),
        row("fifo", "it is a fifo, not a file"),
        row("folder", "it is a directory, not a file"),
        row("latin", "the file is not UTF-8"),
        row("linked", "Small"),
        row("small", "Small"),
    ];
    assert_eq!(listed(&store), expected);
    store.inspect().expect("the directory is readable");
}

/// Files ending in `.yml` are read; if `.yaml` exists too, `.yaml` is read.
#[test]
fn yaml_extension_precedes_yml() {
    let named = |name: &str| SMALL.replace("Small", name);
    let (_dir, store) = store(&[
        ("a.yml", &named("A yml")),
        ("b.yml", &named("B yml")),
        ("b.yaml", &named("B yaml")),
        ("c.YAML", &named("C")),
        ("No id.yml", &named("D")),
    ]);
    assert_eq!(listed(&store), [row("a", "A yml"), row("b", "B yaml")]);
}

/// P9: a directory of any number of files yields a list of bounded length, and each file can be loaded by its id.
#[test]
fn template_list_is_bounded() {
    let (dir, _) = store(&[("c.yaml", SMALL), ("a.yaml", SMALL), ("b.yaml", SMALL)]);
    let store = TemplateStore::with_settings(TemplateSettings {
        files_max: 2,
        ..TemplateStore::new(dir.path().to_owned()).0
    });
    assert_eq!(listed(&store), [row("a", "Small"), row("b", "Small")]);
    assert!(store.load(&id("c")).is_ok());
}

/// The binary has the shipped templates, and the directory takes precedence, also with a broken file.
#[test]
fn built_in_templates_match_repository_and_come_last() {
    let shipped = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/templates"));
    let files: Vec<_> = built_in::FILES.iter().map(|(id, _)| (*id).to_owned()).collect();
    let on_disk: Vec<_> = listed(&TemplateStore::new(shipped.clone()))
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(files, on_disk);
    for (id, text) in built_in::FILES {
        assert_eq!(
            fs::read_to_string(shipped.join(format!("{id}.yaml"))).expect("ships"),
            text
        );
    }
    let (dir, _) = store(&[
        ("novel.yml", SMALL),
        ("software_project.yaml", "[]"),
        ("own.yaml", SMALL),
    ]);
    let with_built_in = |dir: PathBuf| {
        TemplateStore::with_settings(TemplateSettings {
            built_in: true,
            ..TemplateStore::new(dir).0
        })
    };
    let expected = [
        row("novel", "Small"),
        row("own", "Small"),
        row("software_project", "line 1: template: must be an object"),
        row("vehicle_restoration", "Vehicle Restoration"),
    ];
    assert_eq!(listed(&with_built_in(dir.path().to_owned())), expected);
    let missing = dir.path().join("nowhere");
    assert_eq!(listed(&with_built_in(missing.clone())).len(), 3);
    with_built_in(missing.clone()).inspect().expect("it may be missing");
    let refused = TemplateStore::new(missing)
        .inspect()
        .expect_err("it may not")
        .to_string();
    assert!(refused.contains("nowhere cannot be read"), "{refused}");
}

/// A scalar is read as its own text in the place of a text: a version, names, labels, ids, options, defaults.
#[test]
fn scalars_are_texts_in_text_fields() {
    let text = "name: 2026\nversion: 1.10\ndescription: No\nnode_types:\n- id: 1\n  label: 2026-01-05\n  icon: ~\n  \
                allowed_children: [1, Yes, 0x10]\n  features: [On]\n  properties:\n  - id: 1.0\n    label: true\n    \
                type: select\n    options: [Yes, No, 1.0, 1.00, {name: Off, id: 007, indicator_id: 3}]\n    value: Off\n  - \
                {id: day, label: Day, type: date, value: 2026-01-05}\n  - {id: note, label: Note, type: text, value: 1.50}\n  \
                - {id: on, label: On, type: checkbox, value: yes, required: no}\n  - {id: cost, label: '', name: Cost, type: \
                currency, value: 1.50}\n";
    let (_dir, store) = store(&[("t.yaml", text)]);
    let template = store.load(&id("t")).expect("sound");
    assert_eq!((&*template.name, &*template.version), ("2026", "1.10"));
    assert_eq!(template.description.as_deref(), Some("No"));
    let node_type = template.node_type("1").expect("a type");
    assert_eq!((&*node_type.name, &node_type.appearance.icon), ("2026-01-05", &None));
    assert_eq!(node_type.allowed_children, ["1", "Yes", "0x10"]);
    assert_eq!(node_type.features, ["On"]);
    let property = |key: &str| node_type.property(key).expect(key);
    assert_eq!(&*property("1.0").name, "true");
    let PropertyKind::Select(options) = &property("1.0").kind else {
        unreachable!("a select")
    };
    let names: Vec<_> = options.iter().map(|option| &*option.name).collect();
    assert_eq!(names, ["Yes", "No", "1.0", "1.00", "Off"]);
    assert_eq!(
        (&*options[4].id, options[4].indicator_id.as_deref()),
        ("007", Some("3"))
    );
    let default = |key: &str| property(key).default.clone().expect(key);
    assert_eq!(default("1.0"), Value::text("007"));
    assert_eq!(
        (default("day"), default("note")),
        (Value::text("2026-01-05"), Value::text("1.50"))
    );
    assert_eq!((default("on"), property("on").required), (Value::Bool(true), false));
    assert_eq!(serde_json::to_string(&default("cost")).expect("JSON"), "1.50");
    assert_eq!(&*property("cost").name, "Cost");
}

/// A field of the wrong type is named with its line at every level.
#[test]
fn wrong_types_name_line_and_field() {
    let types = |rest: &str| format!("name: T\nnode_types:\n- id: t\n  label: T\n{rest}");
    for (text, fault) in [
        ("- name: T\n".to_owned(), "line 1: template: must be an object"),
        (String::new(), "name: is required"),
        ("name: {a: 1}\n".to_owned(), "line 1: name: must be a text"),
        (
            "name: T\nnode_types: 5\n".to_owned(),
            "line 2: node_types: must be a list",
        ),
        (
            "name: T\nnode_types: [x]\n".to_owned(),
            "line 2: node_types[0]: must be an object",
        ),
        (
            types("  features: scheduling\n"),
            "line 5: node_types[0].features: must be a list",
        ),
        (
            types("  allowed_children:\n  - a\n  - [b]\n"),
            "line 7: node_types[0].allowed_children[1]: must be a text",
        ),
        (
            types("  properties:\n  - id: p\n    label: P\n    type: text\n    required: perhaps\n"),
            "line 9: node_types[0].properties[0].required: must be true or false",
        ),
        (
            types("  properties:\n  - id: p\n    label: P\n    type: select\n    options:\n    - A\n    - [B]\n"),
            "line 11: node_types[0].properties[0].options[1]: must be an object",
        ),
        (
            types("  properties:\n  - id: p\n    label: P\n    type: select\n    options:\n    - A\n    - {name: ~}\n"),
            "line 11: node_types[0].properties[0].options[1].name: is required",
        ),
    ] {
        let (_dir, store) = store(&[("t.yaml", &text)]);
        assert_eq!(store.load(&id("t")).expect_err(fault).to_string(), fault, "{text}");
    }
}
