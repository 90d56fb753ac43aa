//! `Undo` and `Redo`

use std::sync::Arc;

use serde_json::json;
use talus_actors::domain::{
    command::CommandType,
    limits::Limits,
    record::{CommandRecord, Target},
    session::Rules,
    testing::{harness::Harness, sample::Setting},
};

use super::{
    case::{check, code, free_session, given, harness, record},
    commands::{batch, child, delete, node, redo, root, save, set, undo},
};

/// Undo and redo are refused if there is no step.
#[test]
fn undo_without_steps_is_refused() {
    check([
        given([])
            .when(undo())
            .refused("NOTHING_TO_UNDO", "there is nothing to undo"),
        given([])
            .when(redo())
            .refused("NOTHING_TO_REDO", "there is nothing to redo"),
        given([root("a")])
            .when(redo())
            .refused("NOTHING_TO_REDO", "there is nothing to redo"),
        given([root("a"), undo()])
            .when(undo())
            .refused("NOTHING_TO_UNDO", "there is nothing to undo"),
        given([root("a"), undo(), redo()])
            .when(redo())
            .refused("NOTHING_TO_REDO", "there is nothing to redo"),
        given([root("a"), undo(), root("b")])
            .when(redo())
            .refused("NOTHING_TO_REDO", "there is nothing to redo"),
    ]);
}

/// Undo takes the last command first, and redo takes the command that was undone last.
#[test]
fn undo_takes_last_command_first() {
    let two = || [root("a"), set("a", "x", json!(1))];
    check([
        given(two()).when(undo()).then(["a.x: 1 -> gone"]),
        given([&two()[..], &[undo()]].concat())
            .when(undo())
            .then([r#"deleted a at roots[0]: t "a""#]),
        given([&two()[..], &[undo(), undo()]].concat())
            .when(redo())
            .then([r#"created a at roots[0]: t "a""#]),
        given([&two()[..], &[undo(), undo(), redo()]].concat())
            .when(redo())
            .then(["a.x: nothing -> 1"]),
    ]);
}

/// An undo or redo is a separate command with the undone command as its target. The receipt names no node.
#[test]
fn undo_names_its_target() {
    let mut harness = free_session(&[]);
    let created = record(&mut harness, &root("a"));
    let target = Some(Target {
        command_id: created.command_id,
        command_type: CommandType::CreateNode,
    });
    let undone = record(&mut harness, &undo());
    assert_eq!((undone.command_type, undone.target), (CommandType::Undo, target));
    let redone = record(&mut harness, &redo());
    assert_eq!((redone.command_type, redone.target), (CommandType::Redo, target));
    assert!(undone.outcome.node_ids.is_empty() && redone.outcome.node_ids.is_empty());
    let ids = [created.command_id, undone.command_id, redone.command_id];
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

/// Each receipt states if a step can be undone or redone afterwards.
#[test]
fn receipts_state_undo_availability() {
    let mut harness = free_session(&[]);
    let availability = |recorded: &CommandRecord| (recorded.outcome.undo_available, recorded.outcome.redo_available);
    for (command, expected) in [
        (root("a"), (true, false)),
        (root("b"), (true, false)),
        (undo(), (true, true)),
        (undo(), (false, true)),
        (redo(), (true, true)),
        (save("demo.json", 1), (true, true)),
        (redo(), (true, false)),
        (undo(), (true, true)),
        (delete("a"), (true, false)),
    ] {
        assert_eq!(availability(&record(&mut harness, &command)), expected, "{command:?}");
    }
}

/// A save is not a step: it cannot be undone, and it keeps the undone steps.
#[test]
fn save_is_not_a_step() {
    check([
        given([root("a"), save("demo.json", 2)])
            .when(undo())
            .then([r#"deleted a at roots[0]: t "a""#]),
        given([root("a"), undo(), save("demo.json", 4)])
            .when(redo())
            .then([r#"created a at roots[0]: t "a""#]),
        given([save("demo.json", 0)])
            .when(undo())
            .refused("NOTHING_TO_UNDO", "there is nothing to undo"),
    ]);
}

fn limited(limits: Limits) -> Rules {
    Rules {
        blueprint: None,
        limits: Arc::new(limits),
    }
}

fn undo_all(harness: &mut Harness) -> usize {
    let mut count = 0;
    while harness.submit(&undo()).is_ok() {
        count += 1;
    }
    count
}

/// P9: exactly the last `undo_depth_max` commands can be undone.
#[test]
fn undo_depth_limits_steps() {
    let rules = limited(Limits {
        undo_depth_max: 3,
        ..Limits::default()
    });
    let ten: Vec<_> = (0..10).map(|number| set("a", "x", json!(number))).collect();
    let mut harness = harness(&rules, &[vec![root("a")], ten].concat());
    assert_eq!(undo_all(&mut harness), 3);
    let content = |harness: &Harness| {
        let node = harness
            .session()
            .document()
            .graph
            .node(node("a"))
            .expect("the node exists")
            .clone();
        serde_json::to_string(&node.content.properties).expect("JSON")
    };
    assert_eq!(content(&harness), r#"{"x":6}"#);
    for _ in 0..3 {
        record(&mut harness, &redo());
    }
    assert_eq!(content(&harness), r#"{"x":9}"#);
    assert_eq!(code(harness.submit(&redo())), "NOTHING_TO_REDO");
    assert_eq!(undo_all(&mut harness), 3);
}

/// P9: under the default limit, 1,000 of 1,001 commands can be undone.
#[test]
fn default_undo_depth_is_thousand() {
    let commands: Vec<_> = (0..1_000).map(|number| set("a", "x", json!(number))).collect();
    let mut harness = free_session(&[vec![root("a")], commands].concat());
    assert_eq!(undo_all(&mut harness), 1_000);
    assert!(
        harness.session().document().graph.contains(node("a")),
        "its creation is the 1,001st"
    );
}

/// P9: the history weighs at most `undo_bytes_max`, but always contains the last command, whatever its weight.
#[test]
fn undo_bytes_limit_steps() {
    let rules = limited(Limits {
        undo_bytes_max: 10_000,
        ..Limits::default()
    });
    let text = |bytes: usize| set("a", "x", json!("x".repeat(bytes)));
    let heavy: Vec<_> = (0..10).map(|number| text(1_500 + number)).collect();
    let mut harness = harness(&rules, &[vec![root("a")], heavy].concat());
    let depth = harness.session().history().undo_depth();
    assert!(
        (2..=3).contains(&depth),
        "a step weighs its old and its new value: {depth}"
    );
    record(&mut harness, &text(20_000));
    assert_eq!(harness.session().history().undo_depth(), 1);
    record(&mut harness, &undo());
    record(&mut harness, &redo());
    record(&mut harness, &set("a", "y", json!(1)));
    record(&mut harness, &set("a", "y", json!(2)));
    assert_eq!(
        harness.session().history().undo_depth(),
        2,
        "a dropped step weighs nothing"
    );
}

/// A log can be replayed under a lower limit, even if it undoes more commands than the limit allows. Steps beyond the
/// limit are evicted, and the remaining steps can be undone.
#[test]
fn log_replays_under_lower_undo_depth() {
    let commands = [
        vec![
            root("a"),
            child("b", "a"),
            child("c", "b"),
            child("d", "c"),
            set("a", "x", json!(1)),
        ],
        vec![undo(), undo(), undo(), undo(), redo(), redo(), undo(), redo(), redo()],
    ]
    .concat();
    let before = free_session(&commands);
    for undo_depth_max in 1..5 {
        for log in (0..=before.log().len()).map(|records| &before.log()[..records]) {
            let rules = limited(Limits {
                undo_depth_max,
                ..Limits::default()
            });
            let mut harness =
                Harness::resume(before.session().header().clone(), rules, log).expect("it is a sound log");
            assert_eq!(
                harness.session().seq(),
                log.last().map_or_else(Default::default, |last| last.seq())
            );
            let history = harness.session().history();
            assert!(history.undo_depth() + history.redo_depth() <= undo_depth_max);
            let document = harness.session().document().clone();
            let undone = undo_all(&mut harness);
            for _ in 0..undone {
                record(&mut harness, &redo());
            }
            assert_eq!(*harness.session().document(), document, "{undo_depth_max}, {undone}");
            while harness.submit(&redo()).is_ok() {}
            record(&mut harness, &batch([root("y"), child("z", "y")]));
            record(&mut harness, &undo());
            assert!(harness.replayed().as_ref() == Ok(harness.session()));
        }
    }
}

/// The first node of a project is not a step of undo.
#[test]
fn project_creation_is_not_a_step() {
    let mut harness = Setting::Project.harness();
    assert_eq!(code(harness.submit(&undo())), "NOTHING_TO_UNDO");
    let last = harness.log().last().expect("it began").outcome.clone();
    assert_eq!((last.undo_available, last.is_dirty), (false, true));
}
