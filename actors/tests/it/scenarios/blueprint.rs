//! Templates: faults are reported with their position, and absent fields get defaults.

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

/// Builds the sample template after an edit.
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

/// A fault names its field and the first line of the enclosing item.
#[test]
fn fault_names_field_and_line() {
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

/// The root type is the type with feature `is_root`, or else the first type.
#[test]
fn root_type_is_marked_or_first() {
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

/// Absent version, ids and defaults are filled in.
#[test]
fn absent_fields_get_defaults() {
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

/// A feature's property beside an own property of the same slug gets another slug, and the feature's slug as its role.
/// A property that an earlier version of the template contains is not added again.
#[test]
fn feature_property_does_not_replace_own_property() {
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

/// Each feature adds its properties.
#[test]
fn features_add_their_properties() {
    let count = |node_type: &str| {
        let blueprint = sample::blueprint();
        blueprint.node_type(node_type).expect("a type").properties().count()
    };
    assert_eq!(count("phase"), 7, "scheduling");
    assert_eq!(count("project"), 2 + 2, "budgeting, beside its own");
    assert_eq!(count("person"), 3 + 3 * 7, "a type called person is one, of seven days");
    assert_eq!(count("part"), 0);
}

/// Builds a template whose only type has the feature and the properties.
fn with_feature(feature: &str, properties: Vec<PropertyDocument>) -> Blueprint {
    let document = TemplateDocument {
        name: Some("T".into()),
        node_types: vec![NodeTypeDocument {
            id: Some("t".into()),
            label: Some("T".into()),
            features: vec![feature.into()],
            properties,
            primary_status_property_id: Some("status".into()),
            ..NodeTypeDocument::default()
        }],
        ..TemplateDocument::default()
    };
    Blueprint::build("t".parse().expect("an id"), document).expect("sound")
}

fn own(id: &str, label: &str, kind: &str) -> PropertyDocument {
    PropertyDocument {
        id: Some(id.into()),
        label: Some(label.into()),
        kind: Some(kind.into()),
        ..PropertyDocument::default()
    }
}

fn keys(blueprint: &Blueprint) -> Vec<String> {
    let properties = blueprint.root_type().properties();
    properties.map(|property| property.key.to_string()).collect()
}

const SCHEDULE: [&str; 7] = [
    "start_date",
    "end_date",
    "assigned_to",
    "estimated_hours",
    "actual_hours",
    "allocations",
    "status",
];

/// The predecessor saves the properties of features into the template. Such a template is read without duplicates,
/// including the property with another slug beside the author's own.
#[test]
fn saved_feature_property_is_not_added_again() {
    let saved = PropertyDocument {
        role: Some("status".into()),
        uuid: Some("21a07b17-c7a0-aa65-85b7-814f94e04fb6".into()),
        options: Some(vec![OptionDocument {
            name: Some("Done".into()),
            id: Some("d".into()),
            ..OptionDocument::default()
        }]),
        injected: true,
        locked: true,
        ..own("_feat_scheduling_status", "An older label", "select")
    };
    let select = || PropertyDocument {
        options: Some(vec![OptionDocument {
            name: Some("Cut".into()),
            ..OptionDocument::default()
        }]),
        ..own("status", "Edit Status", "select")
    };
    let expected = |first: [&'static str; 2]| [&first[..], &SCHEDULE[..6]].concat();
    let blueprint = with_feature("scheduling", vec![select(), saved.clone()]);
    assert_eq!(keys(&blueprint), expected(["status", "_feat_scheduling_status"]));
    // In either order, with the feature's present definition and the saved ids.
    let blueprint = with_feature("scheduling", vec![saved, select()]);
    assert_eq!(keys(&blueprint), expected(["_feat_scheduling_status", "status"]));
    let property = blueprint
        .root_type()
        .property("_feat_scheduling_status")
        .expect("there");
    assert_eq!(property.id.as_str(), "21a07b17-c7a0-aa65-85b7-814f94e04fb6");
    assert_eq!((&*property.name, &*property.role), ("Status", "status"));
    let PropertyKind::Select(options) = &property.kind else {
        unreachable!("{:?}", property.kind)
    };
    let options: Vec<_> = options.iter().map(|option| (&*option.name, &*option.id)).collect();
    assert_eq!(options[2], ("Done", "d"));
    assert_eq!(options.len(), 3);
    // A slug references the property with that slug.
    let status = blueprint.root_type().property("status").expect("there");
    let primary = blueprint.root_type().primary_status_property_id.as_deref();
    assert_eq!(primary, Some(status.id.as_str()));
}

/// A property with `system_locked` represents the feature's property: there is no second one, and the feature fills in
/// its absent fields.
#[test]
fn locked_property_represents_feature_property() {
    let locked = |property: PropertyDocument| PropertyDocument {
        locked: true,
        ..property
    };
    let blueprint = with_feature(
        "is_person",
        vec![
            locked(own("capacity_monday", "Monday", "number")),
            locked(PropertyDocument {
                required: Some(false),
                ui_group: Some("Mine".into()),
                default: Some(Value::text("7")),
                ..own("capacity_tuesday", "Tuesday", "number")
            }),
            // A default that the author's kind does not accept is ignored.
            locked(own("hourly_rate", "Rate", "date")),
        ],
    );
    assert_eq!(keys(&blueprint).len(), 7 + 7 + 3 + 7);
    let describe = |slug: &str| {
        let property = blueprint.root_type().property(slug).expect(slug);
        let group = property.ui_group.as_deref().unwrap_or_default();
        let default = property
            .default
            .as_ref()
            .map(|value| serde_json::to_string(value).expect("JSON"));
        (
            property.name.to_string(),
            property.required,
            group.to_owned(),
            default.unwrap_or_default(),
        )
    };
    let expected = |name: &str, required, group: &str, default: &str| {
        (name.to_owned(), required, group.to_owned(), default.to_owned())
    };
    assert_eq!(describe("capacity_monday"), expected("Monday", true, "Capacity", "8"));
    assert_eq!(
        describe("capacity_tuesday"),
        expected("Tuesday", false, "Mine", "\"7\"")
    );
    assert_eq!(describe("hourly_rate"), expected("Rate", false, "Rates", ""));
    // Properties of features: labels, groups, order.
    assert_eq!(
        describe("capacity_sunday"),
        expected("Capacity Sunday (Hours)", true, "Capacity", "0")
    );
    assert_eq!(
        describe("overtime_capacity_monday"),
        expected("Overtime Monday (Hours)", false, "Overtime", "0")
    );
    let slugs = keys(&blueprint);
    let after_own: Vec<&str> = slugs[3..].iter().map(String::as_str).collect();
    assert_eq!(
        after_own[4..][..10],
        [
            "capacity_sunday",
            "overtime_capacity_monday",
            "overtime_capacity_tuesday",
            "overtime_capacity_wednesday",
            "overtime_capacity_thursday",
            "overtime_capacity_friday",
            "overtime_capacity_saturday",
            "overtime_capacity_sunday",
            "overtime_capacity",
            "daily_capacity"
        ]
    );
    assert_eq!(after_own[14], "hourly_rate_monday");
    let blueprint = with_feature("budgeting", vec![locked(own("actual_cost", "Cost", "currency"))]);
    assert_eq!(keys(&blueprint), ["actual_cost", "estimated_cost"]);
    for property in blueprint.root_type().properties() {
        assert_eq!(property.ui_group.as_deref(), Some("Financial"));
    }
}

/// A saved property of a removed feature is removed, and the author's own property of the same slug stays.
#[test]
fn removed_feature_removes_saved_property() {
    let saved = PropertyDocument {
        injected: true,
        locked: true,
        ..own("actual_cost", "Actual Cost", "currency")
    };
    let blueprint = with_feature("scheduling", vec![saved, own("estimated_cost", "Mine", "currency")]);
    let expected: Vec<&str> = [&["estimated_cost"][..], &SCHEDULE].concat();
    assert_eq!(keys(&blueprint), expected);
}

/// Derived ids depend only on the slug, because logs and files contain them.
#[test]
fn derived_ids_of_feature_properties_are_stable() {
    let blueprint = with_feature("scheduling", Vec::new());
    let property = blueprint.root_type().property("start_date").expect("there");
    assert_eq!(property.id.as_str(), "8560d124-a084-7893-480e-a427a44e3c6a");
    let beside = with_feature("scheduling", vec![own("status", "Mine", "text")]);
    let property = beside.root_type().property("_feat_scheduling_status").expect("there");
    assert_eq!(property.id.as_str(), "ab959fc9-c44f-38b8-8fdc-9df9ac1ea222");
}
