//! Templates: what is wrong with one is said with its place, and what it leaves open is filled in.

use ecow::EcoString;
use talus_actors::domain::{
    blueprint::{
        Blueprint, PropertyKind, TemplateError,
        document::{NodeTypeDocument, OptionDocument, PropertyDocument, TemplateDocument},
    },
    testing::sample::{self, TASK},
    value::Value,
};

type Edit = fn(&mut TemplateDocument);

/// The sample with a change.
fn build(edit: Edit) -> Result<Blueprint, TemplateError> {
    let mut document = sample::template();
    edit(&mut document);
    Blueprint::build("sample".parse().expect("an id"), document)
}

fn task(document: &mut TemplateDocument) -> &mut NodeTypeDocument {
    &mut document.node_types[2]
}

fn property(document: &mut TemplateDocument, index: usize) -> &mut PropertyDocument {
    &mut task(document).properties[index]
}

fn options(document: &mut TemplateDocument) -> &mut Vec<OptionDocument> {
    property(document, 6).options.as_mut().expect("a select")
}

/// A fault names its field, and the line where the thing begins that it belongs to.
#[test]
fn a_fault_is_said_with_its_place() {
    let cases: [(Edit, &str); 17] = [
        (|t| t.name = None, "name: is required"),
        (|t| t.name = Some(" ".into()), "name: is required"),
        (|t| t.node_types.clear(), "node_types: must have at least one type"),
        (|t| task(t).id = None, "node_types[2].id: is required"),
        (|t| task(t).label = None, "node_types[2].label: is required"),
        (
            |t| task(t).id = Some("phase".into()),
            r#"node_types[2].id: "phase" is used twice"#,
        ),
        (
            |t| task(t).uuid = Some("x".into()),
            r#"node_types[2].uuid: "x" is not a UUID"#,
        ),
        (
            |t| t.node_types[3].uuid = Some(TASK.into()),
            "node_types[3].uuid: 7a5c0000-0000-4000-8000-00000000000a is used twice",
        ),
        (
            |t| property(t, 1).id = None,
            "node_types[2].properties[1].id: is required",
        ),
        (
            |t| property(t, 1).label = None,
            "node_types[2].properties[1].label: is required",
        ),
        (
            |t| property(t, 1).kind = None,
            "node_types[2].properties[1].type: is required",
        ),
        (
            |t| property(t, 1).id = Some("done".into()),
            r#"node_types[2].properties[4].id: "done" is used twice"#,
        ),
        (
            |t| property(t, 1).uuid = Some(sample::DONE.into()),
            "node_types[2].properties[4].uuid: d0e00000-0000-4000-8000-00000000000b is used twice",
        ),
        (
            |t| property(t, 4).default = Some(Value::text("yes")),
            "node_types[2].properties[4].value: must be true or false",
        ),
        (
            |t| options(t)[1].name = None,
            "node_types[2].properties[6].options[1].name: is required",
        ),
        (
            |t| options(t)[1].name = Some("Low".into()),
            r#"node_types[2].properties[6].options[1].name: "Low" is used twice"#,
        ),
        (
            |t| options(t)[0].id = Some("high".into()),
            r#"node_types[2].properties[6].options[1].id: "high" is used twice"#,
        ),
    ];
    for (edit, message) in cases {
        assert_eq!(build(edit).expect_err(message).to_string(), message);
    }
    let with_line = build(|t| {
        task(t).line = Some(12);
        property(t, 1).line = Some(17);
        property(t, 1).kind = None;
        property(t, 0).label = Some("Name".into());
    });
    assert_eq!(with_line.expect_err("a fault").line, Some(17));
    let of_type = build(|t| {
        task(t).line = Some(12);
        property(t, 1).kind = None;
    });
    assert_eq!(of_type.expect_err("a fault").line, Some(12));
}

/// The root type is the one that says so, else the first.
#[test]
fn the_root_type_is_the_one_that_says_so() {
    let root = |edit: Edit| build(edit).expect("sound").root_type().key.to_string();
    assert_eq!(root(|_| {}), "project");
    assert_eq!(root(|t| t.node_types.rotate_left(2)), "project");
    assert_eq!(
        root(|t| {
            t.node_types.rotate_left(2);
            t.node_types.iter_mut().for_each(|node_type| node_type.features.clear());
        }),
        "task"
    );
}

/// What a template does not say: its version, ids, an absent default.
#[test]
fn what_is_left_open_is_filled_in() {
    let blueprint = build(|t| property(t, 4).default = Some(Value::Null)).expect("sound");
    assert_eq!((&*blueprint.version, &*blueprint.name), ("1.0", "Sample"));
    let phase = blueprint.node_type("phase").expect("a type");
    assert_eq!(
        blueprint.node_type(phase.id.as_str()),
        Some(phase),
        "by the id that is derived"
    );
    let task = blueprint.node_type("task").expect("a type");
    let done = task.property("done").expect("a property");
    assert_eq!(
        (done.default.as_ref(), task.defaults().get(&done.id)),
        (None, None),
        "null is none"
    );
    let priority = task.property("priority").expect("a property");
    let PropertyKind::Select(options) = &priority.kind else {
        unreachable!("{:?}", priority.kind)
    };
    let ids: Vec<_> = options.iter().map(|option| &*option.id).collect();
    assert_eq!(ids, ["b7b9fdcf-fa45-1c7a-fdb1-f6dead2d9ff1", "high"]);
    assert_eq!(task.defaults().get(&priority.id), Some(&Value::text(ids[0])));
}

/// A property that a feature adds beside an own one goes by another slug, with the slug that it is known by as its
/// role; one that an earlier version of the template was given is not given again.
#[test]
fn a_feature_does_not_take_the_place_of_an_own_property() {
    fn with_status(document: &mut TemplateDocument, injected: bool) {
        document.node_types[1].properties.push(PropertyDocument {
            id: Some("status".into()),
            label: Some("Status".into()),
            kind: Some("text".into()),
            injected,
            ..PropertyDocument::default()
        });
    }
    let keys = |blueprint: &Blueprint| -> Vec<(EcoString, EcoString)> {
        let phase = blueprint.node_type("phase").expect("a type").clone();
        let about_status = |key: &str| key.contains("status");
        let properties = phase.properties().filter(|property| about_status(&property.key));
        properties
            .map(|property| (property.key.clone(), property.role.clone()))
            .collect()
    };
    let pair = |key: &str, role: &str| (EcoString::from(key), EcoString::from(role));
    assert_eq!(keys(&build(|_| {}).expect("sound")), [pair("status", "status")]);
    assert_eq!(
        keys(&build(|t| with_status(t, false)).expect("sound")),
        [pair("status", "status"), pair("_feat_scheduling_status", "status")]
    );
    assert_eq!(
        keys(&build(|t| with_status(t, true)).expect("sound")),
        [pair("status", "status")]
    );
}

/// Each feature adds what it is known for.
#[test]
fn features_add_what_they_are_known_for() {
    let count = |node_type: &str| {
        let blueprint = sample::blueprint();
        blueprint.node_type(node_type).expect("a type").properties().count()
    };
    assert_eq!(count("phase"), 7, "scheduling");
    assert_eq!(count("project"), 2 + 2, "budgeting, beside its own");
    assert_eq!(count("person"), 3 + 3 * 7, "a type called person is one, of seven days");
    assert_eq!(count("part"), 0);
}
