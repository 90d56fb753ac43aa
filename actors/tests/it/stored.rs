//! Stored formats, as text snapshots: a change of a format is seen here first. Hubs in use have written logs in these
//! formats, and the logs must be readable for ever.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use insta::assert_snapshot;
use serde::{Serialize, de::DeserializeOwned};
use talus_actors::domain::{
    command::{Command, CommandType, Context, CreateNode, Scope},
    content::NodeContent,
    decide::{Decision, decide},
    event::Event,
    graph::Graph,
    ids::{NodeId, PropertyId, Seq, TypeId},
    properties::Properties,
    record::{CommandRecord, Outcome},
    session::{Session, SessionHeader, Snapshot},
    siblings::Siblings,
    testing::{
        harness::{Accepted, Harness},
        sample::{self, Setting},
        users::User,
    },
    value::Value,
};
use uuid::Uuid;

/// Returns the stored text of a value, and asserts that reading it returns an equal value.
fn stored<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value).expect("it is JSON");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("it is read"), value);
    text
}

fn node(number: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(number))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("a value")
}

fn create(node_type: &str, number: u128, parent: Option<u128>) -> CreateNode {
    CreateNode {
        node_type: node_type.into(),
        name: Some(format!("Node {number}").into()),
        parent_id: parent.map(node),
        index: None,
        properties: BTreeMap::new(),
        node_id: Some(node(number)),
    }
}

/// Submits commands to a new session, asserts that each changes it, and returns the record of the last.
fn last_of(setting: Setting, commands: &[Command]) -> Arc<CommandRecord> {
    let mut harness = match setting {
        Setting::Free | Setting::TightFree => setting.harness(),
        Setting::Project | Setting::TightProject => Harness::new(sample::project_header(), setting.rules()),
    };
    for command in commands {
        let decision = harness.submit(command).expect("it is accepted");
        assert!(matches!(decision, Accepted::Change(_)), "{command:?}");
    }
    Arc::clone(harness.log().last().expect("something changed"))
}

fn roots() -> Vec<Command> {
    vec![
        Command::CreateNode(create("part", 1, None)),
        Command::CreateNode(create("part", 2, Some(1))),
        Command::CreateNode(create("part", 3, None)),
    ]
}

fn set(property: &str, value: &str) -> Command {
    Command::UpdateProperty {
        node_id: node(1),
        property: property.into(),
        new_value: json(value),
    }
}

fn after_roots(commands: impl IntoIterator<Item = Command>) -> Arc<CommandRecord> {
    last_of(Setting::Free, &[roots(), commands.into_iter().collect()].concat())
}

#[test]
fn session_headers() {
    assert_snapshot!("genesis", stored(&sample::header()));
    assert_snapshot!("genesis_of_project", stored(&sample::project_header()));
}

#[test]
fn node_created() {
    assert_snapshot!("node_created", stored(&*last_of(Setting::Free, &roots()[..1])));
    let mut task = create("task", 4, None);
    task.properties.insert("cost".into(), json("12345678901234567890.50"));
    task.properties
        .insert("details".into(), json(r#"{"b":[1,null],"a":"ä\n"}"#));
    let task = last_of(Setting::Project, &[Command::CreateNode(task)]);
    assert_snapshot!("node_created_with_template", stored(&*task));
    let begun = last_of(Setting::Project, &[sample::begin_project()]);
    assert_snapshot!("project_created", stored(&*begun));
}

#[test]
fn node_deleted() {
    let deleted = after_roots([set("color", r#""red""#), Command::DeleteNode { node_id: node(1) }]);
    assert_snapshot!("node_deleted", stored(&*deleted));
}

#[test]
fn node_linked_and_unlinked() {
    let linked = after_roots([Command::LinkNode {
        parent_id: node(2),
        child_id: node(3),
        index: None,
    }]);
    assert_snapshot!("node_linked", stored(&*linked));
    let unlinked = after_roots([Command::UnlinkNode {
        parent_id: node(1),
        child_id: node(2),
    }]);
    assert_snapshot!("node_unlinked", stored(&*unlinked));
    let moved = after_roots([Command::MoveNode {
        node_id: node(2),
        new_parent_id: None,
        index: Some(0),
    }]);
    assert_snapshot!("node_moved", stored(&*moved));
}

/// A property that was null is stored differently from a property that was not set.
#[test]
fn property_changed() {
    assert_snapshot!(
        "property_changed_from_nothing",
        stored(&*after_roots([set("color", "1.10")]))
    );
    let from_null = after_roots([set("color", "null"), set("color", "false")]);
    assert_snapshot!("property_changed_from_null", stored(&*from_null));
    assert_snapshot!("name_changed", stored(&*after_roots([set("name", r#""Bolt""#)])));
    let with_key = [
        Command::CreateNode(create("task", 1, None)),
        set("priority", r#""High""#),
    ];
    assert_snapshot!(
        "property_changed_with_template",
        stored(&*last_of(Setting::Project, &with_key))
    );
}

#[test]
fn property_deleted() {
    let property = "color".into();
    let delete = Command::DeleteProperty {
        node_id: node(1),
        property,
    };
    assert_snapshot!(
        "property_deleted",
        stored(&*after_roots([set("color", "[{}]"), delete]))
    );
}

#[test]
fn project_saved() {
    let saved = after_roots([Command::SaveProject {
        file: "demo.json".into(),
        through: Seq(6),
    }]);
    assert_snapshot!("project_saved", stored(&*saved));
}

/// The graph is stored as a flat list, in the order of the tree.
#[test]
fn project_loaded() {
    let content = |name: &str, metadata: Option<&str>| NodeContent {
        name: name.into(),
        type_id: TypeId::new("t"),
        properties: Properties::from([(PropertyId::new("color"), json(r#""red""#))]),
        metadata: metadata.map(|metadata| Box::new(json(metadata))),
    };
    let mut graph = Graph::default();
    for (number, parent, metadata) in [
        (2, None, None),
        (1, Some(2), Some(r#"{"orphaned":true}"#)),
        (3, Some(2), None),
    ] {
        let end = graph.children(parent.map(node)).map_or(0, Siblings::len);
        graph
            .insert(node(number), content("n", metadata), parent.map(node), end)
            .expect("it fits");
    }
    let extras = Some(Arc::new(BTreeMap::from([("expanded_map".into(), json("{}"))])));
    let loaded = after_roots([Command::LoadGraph {
        graph,
        extras,
        from_file: true,
        template_id: None,
    }]);
    assert_snapshot!("project_loaded", stored(&*loaded));
}

#[test]
fn undo_redo_and_batch() {
    let scope = Scope::Session;
    assert_snapshot!("undo", stored(&*after_roots([Command::undo(scope)])));
    let redone = after_roots([Command::undo(scope), Command::redo(scope)]);
    assert_snapshot!("redo", stored(&*redone));
    let mut nameless = create("part", 0, Some(2));
    nameless.node_id = None;
    let commands = vec![Command::CreateNode(nameless), set("color", "null")];
    assert_snapshot!("batch", stored(&*after_roots([Command::Batch { commands }])));
}

/// An undo of an author's own steps is stored with its scope.
#[test]
fn undo_of_own_steps() {
    let mut harness = Setting::Free.harness();
    let create = Command::CreateNode(create("part", 1, None));
    harness.submit_as(User::Carol, &create).expect("it is accepted");
    harness
        .submit_as(User::CarolOnSecondClient, &Command::undo(Scope::Mine))
        .expect("it is accepted");
    assert_snapshot!("undo_of_ones_own", stored(&*harness.log()[1]));
}

/// Steps that can be undone and redone, as a snapshot stores them.
#[test]
fn history_in_a_snapshot() {
    let mut harness = Setting::Free.harness();
    let (alice, bob) = (create("part", 1, None), create("part", 2, None));
    harness
        .submit_as(User::Alice, &Command::CreateNode(alice))
        .expect("accepted");
    harness
        .submit_as(User::Alice, &Command::undo(Scope::Mine))
        .expect("accepted");
    harness
        .submit_as(User::Bob, &Command::CreateNode(bob))
        .expect("accepted");
    let snapshot = serde_json::to_value(harness.session().snapshot()).expect("JSON");
    assert_snapshot!(
        "history",
        serde_json::to_string_pretty(&snapshot["history"]).expect("JSON")
    );
}

/// A snapshot from before undo knew authors has undone steps without the undo that took them back. The session and the
/// authors redo these steps unchanged.
#[test]
fn snapshot_without_undo_records_is_continued() {
    let mut harness = Setting::Free.harness();
    for command in [&roots()[..], &[set("color", r#""red""#)]].concat() {
        harness.submit_as(User::Alice, &command).expect("it is accepted");
    }
    let done = harness.session().document().clone();
    for _ in 0..2 {
        harness
            .submit_as(User::Bob, &Command::undo(Scope::Session))
            .expect("it is accepted");
    }
    let mut snapshot = serde_json::to_value(harness.session().snapshot()).expect("JSON");
    let history = snapshot["history"].as_object_mut().expect("an object");
    history.remove("session_redo_from");
    for step in history["redo"].as_array_mut().expect("a list") {
        step.as_object_mut()
            .expect("an object")
            .remove("undone")
            .expect("it was undone");
    }
    let text = snapshot.to_string();
    for (user, scope) in [(User::Bob, Scope::Session), (User::Alice, Scope::Mine)] {
        let snapshot: Snapshot = serde_json::from_str(&text).expect("it is read");
        let (header, rules) = (sample::header(), Setting::Free.rules());
        let mut session = Session::replay(header, rules, Some(snapshot), []).expect("it is a session");
        for number in [100, 101] {
            let context = Context {
                author: user.author(),
                ..Harness::context(number)
            };
            let Ok(Decision::Change(decided)) = decide(&session, &Command::redo(scope), &context) else {
                unreachable!("it can be redone");
            };
            session.commit(decided).expect("it fits");
        }
        assert_eq!(*session.document(), done);
    }
}

/// Command types are stored by these names.
#[test]
fn command_types_are_stored_by_name() {
    let names: Vec<_> = CommandType::ALL.iter().map(stored).collect();
    assert_snapshot!("command_types", names.join("\n"));
    for kind in CommandType::ALL {
        assert_eq!(stored(&kind), format!("{:?}", kind.as_str()));
    }
}

/// A field that an older log lacks has its default, and an unknown field of a newer log is ignored.
#[test]
fn absent_and_unknown_fields_are_accepted() {
    let id = "00000000-0000-0000-0000-000000000001";
    let record = format!(
        r#"{{"command_id":"{id}","command_type":"CreateNode","fingerprint":7,"timestamp":5,"first_seq":1,"later":true,
            "events":[{{"node_created":{{"node_id":"{id}","parent_id":null,"index":0,"later":[],
                "content":{{"name":"a","type_id":"t","later":{{}}}}}}}},
              {{"property_changed":{{"node_id":"{id}","property":{{"id":"x"}},"after":1}}}}],
            "outcome":{{"undo_available":true,"redo_available":false,"is_dirty":true}}}}"#
    );
    let record: CommandRecord = serde_json::from_str(&record).expect("it is read");
    assert_eq!(
        (record.target, record.author.client_id, record.outcome.node_ids.len()),
        (None, None, 0)
    );
    match &record.events[..] {
        [
            Event::NodeCreated { content, .. },
            Event::PropertyChanged { property, before, .. },
        ] => {
            assert_eq!((content.properties.len(), content.metadata.as_ref()), (0, None));
            assert_eq!((property.key.as_ref(), before.as_ref()), (None, None));
        }
        other => unreachable!("{other:?}"),
    }
    let header = format!(r#"{{"session_id":"{id}","epoch":"0000beef","created_at":5,"later":1}}"#);
    assert_eq!(
        serde_json::from_str::<SessionHeader>(&header)
            .expect("it is read")
            .project,
        None
    );
}

/// A stored graph that is no forest is refused: a node that occurs twice, a parent that is missing or comes later.
#[test]
fn stored_graph_that_is_no_forest_is_refused() {
    let read = |nodes: &[(u128, Option<u128>)]| {
        let stored = |(id, parent): &(u128, Option<u128>)| {
            let parent = parent.map_or(String::new(), |parent| format!(r#""parent":"{}","#, node(parent)));
            format!(
                r#"{{"id":"{}",{parent}"content":{{"name":"n","type_id":"t"}}}}"#,
                node(*id)
            )
        };
        let text = format!("[{}]", nodes.iter().map(stored).collect::<Vec<_>>().join(","));
        serde_json::from_str::<Graph>(&text)
            .map(|graph| graph.len())
            .map_err(|error| error.to_string())
    };
    let refused = |nodes, message: &str| {
        let error = read(nodes).expect_err(message);
        assert!(error.starts_with(message), "{error}");
    };
    assert_eq!(read(&[(1, None), (2, Some(1)), (3, None), (4, Some(2))]), Ok(4));
    refused(
        &[(1, None), (1, None)],
        "node 00000000-0000-0000-0000-000000000001 exists already",
    );
    refused(
        &[(2, Some(1)), (1, None)],
        "node 00000000-0000-0000-0000-000000000001 does not exist",
    );
    refused(
        &[(1, Some(1))],
        "node 00000000-0000-0000-0000-000000000001 does not exist",
    );
}

/// Records from before the state hash are read, and have none.
#[test]
fn outcome_without_state_hash_is_read() {
    let text = r#"{"undo_available": true, "redo_available": false, "is_dirty": true}"#;
    let outcome: Outcome = serde_json::from_str(text).expect("it is read");
    assert_eq!(outcome.state_hash, None);
    assert!(!serde_json::to_string(&outcome).expect("JSON").contains("state_hash"));
}
