//! `Undo` and `Redo` with scope `mine`, among changes of others (U1 to U9).

use std::sync::Arc;

use serde_json::json;
use talus_actors::domain::{
    command::{Command, CommandType, Context, Scope},
    document::Document,
    graph::{Graph, Node},
    invariants,
    limits::Limits,
    record::CommandRecord,
    rejection::{BlockedBy, Rejection},
    session::{Rules, Session, Snapshot},
    testing::{
        harness::{Accepted, Harness},
        sample::Setting,
        users::User::{self, Alice, Anonymous, Bob, Carol, CarolOnSecondClient},
    },
};

use super::{
    case::event_lines,
    commands::{
        CommandExt, batch, child, delete, link, load, move_node, node, reorder, root, set, to_roots, unlink, unset,
    },
    event_text::abbreviate,
};

const fn undo_mine() -> Command {
    Command::undo(Scope::Mine)
}

const fn redo_mine() -> Command {
    Command::redo(Scope::Mine)
}

const fn force_undo_mine() -> Command {
    Command::Undo {
        scope: Scope::Mine,
        force: true,
    }
}

const fn force_redo_mine() -> Command {
    Command::Redo {
        scope: Scope::Mine,
        force: true,
    }
}

const fn undo_last() -> Command {
    Command::undo(Scope::Session)
}

const fn redo_last() -> Command {
    Command::redo(Scope::Session)
}

/// Session with the actions of several users.
struct Scenario {
    harness: Harness,
}

impl Scenario {
    fn of<const N: usize>(turns: [(User, Command); N]) -> Self {
        Self::with(Limits::default(), turns)
    }

    fn with<const N: usize>(limits: Limits, turns: [(User, Command); N]) -> Self {
        let rules = Rules {
            limits: Arc::new(limits),
            ..Setting::Free.rules()
        };
        let harness = Harness::new(talus_actors::domain::testing::sample::header(), rules);
        let mut scenario = Self { harness };
        for (user, command) in turns {
            scenario.turn(user, &command);
        }
        scenario
    }

    /// Sends a command and expects a change of the session.
    #[track_caller]
    fn turn(&mut self, user: User, command: &Command) -> Arc<CommandRecord> {
        let decision = self.harness.submit_as(user, command);
        let Ok(Accepted::Change(recorded)) = decision else {
            unreachable!("{command:?} of {user:?} became {decision:?}");
        };
        assert_eq!(invariants::check(self.harness.session()), Ok(()));
        assert!(self.harness.replayed().as_ref() == Ok(self.harness.session()));
        recorded
    }

    /// Sends a command and expects exactly the given events.
    #[track_caller]
    fn emits<const N: usize>(&mut self, user: User, command: &Command, events: [&str; N]) -> &mut Self {
        let recorded = self.turn(user, command);
        assert_eq!(event_lines(&recorded.events), events);
        self
    }

    #[track_caller]
    fn refused(&mut self, user: User, command: &Command) -> Rejection {
        let before = self.document();
        let decision = self.harness.submit_as(user, command);
        assert_eq!(self.document(), before);
        decision.expect_err("it is refused")
    }

    /// Expects a conflict with the record at an index, counted from 0, and its message.
    #[track_caller]
    fn blocked(&mut self, user: User, command: &Command, message: &str, by: usize) -> &mut Self {
        let rejection = self.refused(user, command);
        assert_eq!(rejection.code(), "UNDO_CONFLICT", "{rejection}");
        assert_eq!(abbreviate(&rejection.to_string()), message);
        let Rejection::UndoConflict(conflict) = rejection else {
            unreachable!("the code says so");
        };
        assert_eq!(conflict.blocked_by, Some(BlockedBy::from(&*self.harness.log()[by])));
        self
    }

    #[track_caller]
    fn code(&mut self, user: User, command: &Command, code: &str) -> &mut Self {
        assert_eq!(self.refused(user, command).code(), code);
        self
    }

    fn document(&self) -> Document {
        self.harness.session().document().clone()
    }

    fn depths(&self) -> (usize, usize) {
        let history = self.harness.session().history();
        (history.undo_depth(), history.redo_depth())
    }
}

/// U1: each user's undo takes the user's own last command, whatever others did since.
#[test]
fn undo_mine_takes_own_last_command() {
    let mut scenario = Scenario::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, set("a", "x", json!(1))),
        (Bob, set("b", "x", json!(2))),
    ]);
    scenario
        .emits(Alice, &undo_mine(), ["a.x: 1 -> gone"])
        .emits(Alice, &undo_mine(), [r#"deleted a at roots[0]: t "a""#])
        .code(Alice, &undo_mine(), "NOTHING_TO_UNDO")
        .emits(Bob, &undo_mine(), ["b.x: 2 -> gone"])
        .emits(Alice, &redo_mine(), [r#"created a at roots[0]: t "a""#])
        .emits(Alice, &redo_mine(), ["a.x: nothing -> 1"])
        .code(Alice, &redo_mine(), "NOTHING_TO_REDO")
        .emits(Bob, &redo_mine(), ["b.x: nothing -> 2"]);
}

/// U1: a named user has the same steps on every client. An anonymous sender has no own steps.
#[test]
fn undo_mine_uses_user_or_client() {
    let mut scenario = Scenario::of([(Carol, root("a")), (Anonymous, root("b")), (Alice, root("c"))]);
    scenario.code(Bob, &undo_mine(), "NOTHING_TO_UNDO");
    for command in [undo_mine(), redo_mine(), force_undo_mine()] {
        let rejection = scenario.refused(Anonymous, &command);
        assert!(rejection.is_malformed(), "{rejection}");
        assert!(
            matches!(rejection, Rejection::InvalidRequest { field: "scope", .. }),
            "{rejection:?}"
        );
    }
    scenario
        .emits(CarolOnSecondClient, &undo_mine(), [r#"deleted a at roots[0]: t "a""#])
        .emits(Carol, &redo_mine(), [r#"created a at roots[0]: t "a""#]);
}

/// U1: own steps are folded from the log and are part of the snapshot.
#[test]
fn undo_mine_survives_restart() {
    let mut scenario = Scenario::of([
        (Alice, root("a")),
        (Alice, set("a", "x", json!(1))),
        (Bob, root("b")),
        (Alice, undo_mine()),
        (Bob, set("b", "x", json!(2))),
    ]);
    scenario.harness.restart().expect("it replays");
    scenario.emits(Alice, &redo_mine(), ["a.x: nothing -> 1"]);
    let text = serde_json::to_string(&scenario.harness.session().snapshot()).expect("JSON");
    let snapshot: Snapshot = serde_json::from_str(&text).expect("it is read");
    let session = scenario.harness.session();
    let (header, rules) = (session.header().clone(), session.rules().clone());
    let restored = Session::replay(header, rules, Some(snapshot), []).expect("it replays");
    let next = restored
        .history()
        .next_undo_of(&Alice.author().key().expect("she has a name"));
    assert_eq!(
        next.expect("she did something").target().command_type,
        CommandType::UpdateProperty
    );
}

/// U2: a property is restored only if it still has the value that the step wrote. The conflict names the later author,
/// and force overrides it.
#[test]
fn undo_mine_requires_written_value() {
    let start = || {
        Scenario::of([
            (Anonymous, root("a").with("x", json!(0))),
            (Alice, set("a", "x", json!(1))),
            (Bob, set("a", "x", json!(2))),
        ])
    };
    let changed = r#"property "x" of node a has changed since"#;
    start()
        .blocked(Alice, &undo_mine(), changed, 2)
        .emits(Alice, &force_undo_mine(), ["a.x: 2 -> 0"])
        // Now Bob's value has been overridden.
        .blocked(Bob, &undo_mine(), changed, 3)
        .emits(Alice, &redo_mine(), ["a.x: 0 -> 2"])
        .blocked(Alice, &undo_mine(), changed, 2)
        .emits(Bob, &undo_mine(), ["a.x: 2 -> 1"])
        .emits(Alice, &undo_mine(), ["a.x: 1 -> 0"]);
    // Other properties, and the same property of other nodes, do not conflict.
    let mut scenario = start();
    scenario.turn(Bob, &undo_mine());
    scenario.turn(Bob, &set("a", "y", json!(3)));
    scenario.emits(Alice, &undo_mine(), ["a.x: 1 -> 0"]);
    // The conflict names the last author, not the first.
    let mut scenario = start();
    scenario.turn(Carol, &set("a", "x", json!(3)));
    scenario.turn(Bob, &set("a", "y", json!(3)));
    scenario.blocked(Alice, &undo_mine(), changed, 3);
}

/// U2: the same holds for names and for deleted properties.
#[test]
fn undo_mine_covers_names_and_deletions() {
    let mut scenario = Scenario::of([
        (Anonymous, root("a").with("x", json!(0))),
        (Alice, set("a", "name", json!("A"))),
        (Bob, set("a", "name", json!("B"))),
        (Alice, unset("a", "x")),
        (Bob, set("a", "x", json!(2))),
    ]);
    scenario
        .blocked(Alice, &undo_mine(), r#"property "x" of node a has changed since"#, 4)
        .emits(Alice, &force_undo_mine(), ["a.x: 2 -> 0"])
        .blocked(Alice, &undo_mine(), r#"property "name" of node a has changed since"#, 2)
        .emits(Alice, &force_undo_mine(), [r#"a.name: "B" -> "a""#]);
}

/// U2: an undo of a property that another user has already deleted sets and deletes it, so that the undo has a record.
#[test]
fn undo_without_net_effect_is_recorded() {
    let mut scenario = Scenario::of([
        (Anonymous, root("a")),
        (Alice, set("a", "x", json!(1))),
        (Bob, unset("a", "x")),
    ]);
    let before = scenario.document();
    scenario
        .blocked(Alice, &undo_mine(), r#"property "x" of node a has changed since"#, 2)
        .emits(Alice, &force_undo_mine(), ["a.x: nothing -> 1", "a.x: 1 -> gone"]);
    assert_eq!(scenario.document(), before);
    scenario.code(Alice, &undo_mine(), "NOTHING_TO_UNDO");
    scenario.turn(Alice, &redo_mine());
    assert_eq!(scenario.document(), before);
    scenario.emits(Bob, &undo_mine(), ["a.x: nothing -> 1"]);
}

/// U2: a change to a node that was deleted since cannot be undone, even with force, until the node is restored.
#[test]
fn undo_on_deleted_node_conflicts() {
    for change in [set("b", "x", json!(1)), reorder("b", 0), to_roots("b"), child("c", "b")] {
        let mut scenario = Scenario::of([
            (Anonymous, root("a")),
            (Anonymous, child("z", "a")),
            (Anonymous, child("b", "a")),
            (Alice, change.clone()),
            (Bob, delete("b")),
        ]);
        let gone = match change {
            Command::CreateNode(_) => "node c is gone",
            _ => "node b is gone",
        };
        scenario.blocked(Alice, &undo_mine(), gone, 4);
        scenario.blocked(Alice, &force_undo_mine(), gone, 4);
        let rejection = scenario.refused(Alice, &undo_mine());
        let Rejection::UndoConflict(conflict) = rejection else {
            unreachable!("{rejection}");
        };
        assert_eq!(abbreviate(&conflict.obstacle.to_string()), gone);
        scenario.turn(Bob, &undo_mine());
        scenario.turn(Alice, &undo_mine());
    }
}

/// U3: a subtree is restored with its ids and at its indices, whatever others did since, or at the end if there are
/// fewer siblings.
#[test]
fn undo_restores_deleted_subtree() {
    let start = || {
        Scenario::of([
            (Anonymous, root("p")),
            (Anonymous, batch([child("x", "p"), child("y", "p")])),
            (Anonymous, batch([child("a", "p"), child("b", "a"), child("c", "a")])),
            (Anonymous, child("d", "b")),
            (Alice, delete("a")),
        ])
    };
    let mut scenario = start();
    scenario.turn(Bob, &child("z", "p"));
    scenario.turn(Bob, &set("p", "x", json!(1)));
    scenario.emits(
        Alice,
        &undo_mine(),
        [
            r#"created a at p[2]: t "a""#,
            r#"created b at a[0]: t "b""#,
            r#"created d at b[0]: t "d""#,
            r#"created c at a[1]: t "c""#,
        ],
    );
    let mut scenario = start();
    scenario.turn(Bob, &batch([delete("x"), delete("y")]));
    let recorded = scenario.turn(Alice, &undo_mine());
    assert_eq!(event_lines(&recorded.events[..1]), [r#"created a at p[0]: t "a""#]);
}

/// U3: a deleted parent or a taken id is named in the conflict.
#[test]
fn undo_of_deletion_requires_parent_and_id() {
    let start = || {
        Scenario::of([
            (Anonymous, root("p")),
            (Anonymous, child("a", "p")),
            (Alice, delete("a")),
        ])
    };
    let mut scenario = start();
    scenario.turn(Bob, &delete("p"));
    scenario
        .blocked(Alice, &undo_mine(), "node p is gone", 3)
        .blocked(Alice, &force_undo_mine(), "node p is gone", 3)
        .emits(Bob, &undo_mine(), [r#"created p at roots[0]: t "p""#])
        .emits(Alice, &undo_mine(), [r#"created a at p[0]: t "a""#]);
    let mut scenario = start();
    scenario.turn(Bob, &root("a"));
    scenario
        .blocked(Alice, &undo_mine(), "node a is there already", 3)
        .blocked(Alice, &force_undo_mine(), "node a is there already", 3);
}

/// U3, P9: a restored node has to fit within the limits.
#[test]
fn undo_of_deletion_respects_limits() {
    let limits = Limits {
        nodes_max: 4,
        depth_max: 3,
        properties_per_node_max: 1,
        ..Limits::default()
    };
    for (change, meanwhile) in [
        (delete("a"), batch([root("x"), root("y"), root("z")])),
        (to_roots("a"), batch([child("x", "a"), child("y", "x")])),
        (unset("a", "x"), set("a", "y", json!(2))),
    ] {
        let start = [(Anonymous, root("p")), (Anonymous, child("a", "p").with("x", json!(1)))];
        let mut scenario = Scenario::with(limits.clone(), start);
        scenario.turn(Alice, &change);
        scenario.turn(Bob, &meanwhile);
        scenario.code(Alice, &undo_mine(), "LIMIT_EXCEEDED");
        scenario.code(Alice, &force_undo_mine(), "LIMIT_EXCEEDED");
        scenario.turn(Bob, &undo_mine());
        scenario.turn(Alice, &undo_mine());
    }
}

/// U4: a created node that another user changed, moved or added children to stays, and the conflict names that user.
#[test]
fn undo_of_creation_requires_untouched_node() {
    let start = || {
        Scenario::of([
            (Anonymous, root("p")),
            (Alice, child("a", "p")),
            (Anonymous, child("z", "p")),
            (Anonymous, root("q")),
        ])
    };
    for (change, message) in [
        (set("a", "x", json!(1)), "node a has changed since"),
        (set("a", "name", json!("A")), "node a has changed since"),
        (child("b", "a"), "node a has something under it now"),
        (move_node("z", "a"), "node a has something under it now"),
        (move_node("a", "q"), "node a has been moved since"),
        (reorder("a", 1), "node a has been moved since"),
    ] {
        let mut scenario = start();
        scenario.turn(Bob, &change);
        let before = scenario.document();
        scenario.blocked(Alice, &undo_mine(), message, 4);
        // With force the node is deleted with its subtree, and a redo restores the subtree.
        scenario.turn(Alice, &force_undo_mine());
        assert!(!scenario.document().graph.contains(node("a")));
        scenario.turn(Alice, &redo_mine());
        assert_eq!(scenario.document(), before);
        // After the other users have undone their changes, there is no conflict.
        scenario.turn(Bob, &undo_mine());
        scenario.emits(Alice, &undo_mine(), [r#"deleted a at p[0]: t "a""#]);
    }
    // Changes of siblings do not conflict.
    let mut scenario = start();
    scenario.turn(Bob, &child("b", "p").at(0));
    scenario.emits(Alice, &undo_mine(), [r#"deleted a at p[1]: t "a""#]);
}

/// U4: with force, the whole subtree is deleted.
#[test]
fn forced_undo_of_creation_deletes_subtree() {
    let mut scenario = Scenario::of([
        (Alice, batch([root("a"), child("b", "a")])),
        (Bob, child("c", "a")),
        (Carol, child("d", "c")),
    ]);
    scenario
        .blocked(Alice, &undo_mine(), "node a has something under it now", 1)
        .emits(
            Alice,
            &force_undo_mine(),
            [
                r#"deleted b at a[0]: t "b""#,
                r#"deleted d at c[0]: t "d""#,
                r#"deleted c at a[0]: t "c""#,
                r#"deleted a at roots[0]: t "a""#,
            ],
        )
        .blocked(Bob, &undo_mine(), "node c is gone", 3)
        .emits(
            Alice,
            &redo_mine(),
            [
                r#"created a at roots[0]: t "a""#,
                r#"created c at a[0]: t "c""#,
                r#"created d at c[0]: t "d""#,
                r#"created b at a[0]: t "b""#,
            ],
        );
}

/// A move is undone unless another user moved the node again, also among its siblings.
#[test]
fn undo_of_move_requires_unmoved_node() {
    let start = || {
        Scenario::of([
            (Anonymous, batch([root("p"), root("q"), root("r")])),
            (Anonymous, batch([child("a", "p"), child("b", "p"), child("c", "q")])),
            (Alice, move_node("a", "q")),
        ])
    };
    start().emits(
        Alice,
        &undo_mine(),
        ["unlinked a from q[1]", "linked a to p[0], was roots[3]"],
    );
    for on in [move_node("a", "r"), reorder("a", 0), unlink("a", "q"), to_roots("a")] {
        let mut scenario = start();
        scenario.turn(Bob, &on);
        scenario.blocked(Alice, &undo_mine(), "node a has been moved since", 3);
        let before = scenario.document();
        scenario.turn(Alice, &force_undo_mine());
        let graph = scenario.document().graph;
        assert_eq!(
            (graph.node(node("a")).and_then(Node::parent), graph.position(node("a"))),
            (Some(node("p")), Some(0))
        );
        scenario.turn(Alice, &redo_mine());
        assert_eq!(scenario.document(), before);
    }
    // Other changes of the node and of its surroundings do not conflict.
    let mut scenario = start();
    scenario.turn(
        Bob,
        &batch([set("a", "x", json!(1)), child("d", "a"), delete("c"), delete("b")]),
    );
    scenario.emits(
        Alice,
        &undo_mine(),
        ["unlinked a from q[0]", "linked a to p[0], was roots[3]"],
    );
    // The former parent has to exist and must not be below the node.
    let mut scenario = start();
    scenario.turn(Bob, &delete("p"));
    scenario.blocked(Alice, &force_undo_mine(), "node p is gone", 3);
    let mut scenario = start();
    scenario.turn(Bob, &move_node("p", "a"));
    scenario.blocked(Alice, &undo_mine(), "node a would go below itself, to p", 3);
    scenario.blocked(Alice, &force_undo_mine(), "node a would go below itself, to p", 3);
}

/// A forced undo and a reordering of siblings count as changes for later undos.
#[test]
fn forced_undo_counts_as_change() {
    let mut scenario = Scenario::of([
        (Anonymous, batch([root("a"), root("b"), root("c")])),
        (Alice, reorder("a", 2)),
        (Bob, reorder("a", 1)),
        (Alice, force_undo_mine()),
    ]);
    scenario.blocked(Bob, &undo_mine(), "node a has been moved since", 3);
    scenario.turn(Alice, &redo_mine());
    scenario.emits(
        Bob,
        &undo_mine(),
        ["unlinked a from roots[1]", "linked a to roots[2], was roots[2]"],
    );
}

/// U5: an undo and its redo leave graph and history unchanged.
#[test]
fn undo_and_redo_are_inverse() {
    let mut scenario = Scenario::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, set("a", "x", json!(1))),
        (Bob, set("b", "x", json!(1))),
    ]);
    let (before, stacks) = (
        scenario.document(),
        scenario.harness.session().history().stacks().clone(),
    );
    for _ in 0..3 {
        scenario.turn(Alice, &undo_mine());
        scenario.turn(Alice, &undo_mine());
        scenario.turn(Alice, &redo_mine());
        scenario.turn(Alice, &redo_mine());
        assert_eq!(scenario.document(), before);
        assert_eq!(*scenario.harness.session().history().stacks(), stacks);
    }
    scenario.emits(Alice, &undo_last(), ["b.x: 1 -> gone"]);
}

/// U5: a redo emits the same kinds of events as the original link or unlink.
#[test]
fn redo_emits_events_like_original() {
    let given = [
        (Anonymous, root("a")),
        (Anonymous, root("b")),
        (Anonymous, child("c", "a")),
    ];
    for command in [
        link("b", "a"),
        unlink("c", "a"),
        move_node("b", "c"),
        to_roots("c"),
        reorder("b", 0),
    ] {
        let mut scenario = Scenario::of(given.clone());
        let done = event_lines(&scenario.turn(Alice, &command).events);
        scenario.turn(Alice, &undo_mine());
        assert_eq!(
            event_lines(&scenario.turn(Alice, &redo_mine()).events),
            done,
            "{command:?}"
        );
        scenario.turn(Alice, &undo_mine());
        scenario.turn(Bob, &root("z"));
        scenario.turn(Alice, &redo_mine());
    }
}

/// A redo requires the state that the undo left, or is refused like an undo.
#[test]
fn redo_conflicts_like_undo() {
    let mut scenario = Scenario::of([
        (Anonymous, root("a").with("x", json!(0))),
        (Alice, set("a", "x", json!(1))),
        (Alice, undo_mine()),
        (Bob, set("a", "x", json!(2))),
    ]);
    scenario
        .blocked(Alice, &redo_mine(), r#"property "x" of node a has changed since"#, 3)
        .emits(Alice, &force_redo_mine(), ["a.x: 2 -> 1"]);
    let mut scenario = Scenario::of([
        (Anonymous, root("p")),
        (Alice, child("a", "p")),
        (Alice, undo_mine()),
        (Bob, delete("p")),
    ]);
    scenario.blocked(Alice, &force_redo_mine(), "node p is gone", 3);
    let mut scenario = Scenario::of([
        (Anonymous, root("a")),
        (Alice, delete("a")),
        (Alice, undo_mine()),
        (Bob, child("b", "a")),
    ]);
    scenario.blocked(Alice, &redo_mine(), "node a has something under it now", 3);
    let mut scenario = Scenario::of([
        (Anonymous, batch([root("a"), root("b"), root("c")])),
        (Alice, reorder("a", 2)),
        (Alice, undo_mine()),
        (Bob, reorder("a", 1)),
    ]);
    scenario
        .blocked(Alice, &redo_mine(), "node a has been moved since", 3)
        .emits(
            Alice,
            &force_redo_mine(),
            ["unlinked a from roots[1]", "linked a to roots[2], was roots[2]"],
        );
}

/// U6: a new command drops the undone steps of its author and keeps those of others. The session can redo none of them.
#[test]
fn new_command_drops_own_undone_steps() {
    let mut scenario = Scenario::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, undo_mine()),
        (Bob, undo_mine()),
        (Carol, root("c")),
    ]);
    scenario.code(Carol, &redo_last(), "NOTHING_TO_REDO");
    scenario.turn(Bob, &redo_mine());
    scenario.turn(Bob, &set("b", "x", json!(1)));
    scenario
        .code(Bob, &redo_mine(), "NOTHING_TO_REDO")
        .emits(Alice, &redo_mine(), [r#"created a at roots[0]: t "a""#])
        .code(Alice, &redo_mine(), "NOTHING_TO_REDO");
}

/// U6: undone steps of an anonymous sender are dropped with the next command of any user.
#[test]
fn anonymous_steps_are_redone_by_session_only() {
    let mut scenario = Scenario::of([(Anonymous, root("a")), (Alice, undo_last())]);
    scenario.code(Alice, &redo_mine(), "NOTHING_TO_REDO");
    scenario.turn(Alice, &redo_last());
    scenario.turn(Alice, &undo_last());
    scenario.turn(Bob, &root("b"));
    scenario.code(Alice, &redo_last(), "NOTHING_TO_REDO");
    assert_eq!(scenario.harness.session().history().undone(), 0);
}

/// U7: an undo is a command of its own with graph events, and names the command of its step.
#[test]
fn undo_mine_is_recorded() {
    let mut scenario = Scenario::of([(Alice, root("a")), (Bob, root("b"))]);
    let target = scenario.harness.log()[0].command_id;
    for (command, kind) in [(undo_mine(), CommandType::Undo), (redo_mine(), CommandType::Redo)] {
        let recorded = scenario.turn(Alice, &command);
        assert_eq!((recorded.command_type, recorded.scope), (kind, Scope::Mine));
        let undone = recorded.target.expect("it has one");
        assert_eq!(
            (undone.command_id, undone.command_type),
            (target, CommandType::CreateNode)
        );
        assert_eq!(recorded.author, Alice.author());
    }
}

/// U8: a batch is one step: it is undone as a whole or not at all.
#[test]
fn batch_is_one_step() {
    let mut scenario = Scenario::of([
        (Anonymous, root("p")),
        (
            Alice,
            batch([child("a", "p"), child("b", "p"), set("p", "x", json!(1))]),
        ),
        (Bob, root("z")),
    ]);
    scenario.emits(
        Alice,
        &undo_mine(),
        [
            "p.x: 1 -> gone",
            r#"deleted b at p[1]: t "b""#,
            r#"deleted a at p[0]: t "a""#,
        ],
    );
    scenario.turn(Alice, &redo_mine());
    scenario.turn(Bob, &set("a", "y", json!(1)));
    scenario.blocked(Alice, &undo_mine(), "node a has changed since", 5);
    scenario.code(Alice, &redo_mine(), "NOTHING_TO_REDO");
}

/// U8: changes of a node within one batch do not conflict with each other.
#[test]
fn batch_does_not_conflict_with_itself() {
    let mut scenario = Scenario::of([
        (Anonymous, root("p")),
        (
            Alice,
            batch([
                root("a").with("x", json!(1)),
                move_node("a", "p"),
                set("a", "x", json!(2)),
                unset("a", "x"),
                child("b", "a"),
                delete("b"),
                set("a", "name", json!("A")),
                unlink("a", "p"),
                link("a", "p"),
            ]),
        ),
        (Bob, root("z")),
    ]);
    let before = scenario.document();
    scenario.turn(Alice, &undo_mine());
    assert!(!scenario.document().graph.contains(node("a")));
    scenario.turn(Alice, &redo_mine());
    assert_eq!(scenario.document(), before);
}

/// U9: both scopes work on one history. The session's undo takes the last done step of any author, including after
/// undos of others, and its author can redo the step.
#[test]
fn session_undo_takes_last_done_step() {
    let mut scenario = Scenario::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, root("c")),
        (Alice, undo_mine()),
    ]);
    assert_eq!(scenario.depths(), (2, 1));
    scenario.emits(Alice, &undo_last(), [r#"deleted b at roots[1]: t "b""#]);
    scenario.code(Bob, &undo_mine(), "NOTHING_TO_UNDO");
    // Any user redoes the step that was undone last.
    scenario
        .emits(Carol, &redo_last(), [r#"created b at roots[1]: t "b""#])
        .emits(Carol, &redo_last(), [r#"created c at roots[2]: t "c""#])
        .emits(Carol, &undo_last(), [r#"deleted c at roots[2]: t "c""#])
        .emits(Carol, &undo_last(), [r#"deleted b at roots[1]: t "b""#])
        .emits(Bob, &redo_mine(), [r#"created b at roots[1]: t "b""#])
        .emits(Alice, &redo_mine(), [r#"created c at roots[2]: t "c""#]);
    assert_eq!(scenario.depths(), (3, 0));
}

/// U9: the session's undo also requires the state that its step left, because an earlier step may have been undone by
/// force.
#[test]
fn session_undo_conflicts_like_undo_mine() {
    let mut scenario = Scenario::of([
        (Anonymous, root("a").with("x", json!(0))),
        (Alice, set("a", "x", json!(1))),
        (Bob, set("a", "x", json!(2))),
        (Alice, force_undo_mine()),
    ]);
    let changed = r#"property "x" of node a has changed since"#;
    scenario.blocked(Carol, &undo_last(), changed, 3);
    let force_undo_mine = Command::Undo {
        scope: Scope::Session,
        force: true,
    };
    scenario.emits(Carol, &force_undo_mine, ["a.x: 0 -> 1"]);
}

/// U9: the same without force, because an earlier step may have been undone.
#[test]
fn session_undo_requires_existing_node() {
    let mut scenario = Scenario::of([
        (Alice, root("p")),
        (Bob, child("a", "p")),
        (Bob, delete("a")),
        (Alice, undo_mine()),
    ]);
    scenario.blocked(Carol, &undo_last(), "node p is gone", 3);
    scenario.turn(Alice, &redo_mine());
    scenario.emits(Carol, &undo_last(), [r#"created a at p[0]: t "a""#]);
}

/// A load is a step. Its undo would discard later changes of others.
#[test]
fn undo_of_load_requires_unchanged_document() {
    let start = || Scenario::of([(Bob, root("a")), (Alice, load(Graph::default()))]);
    start().emits(Alice, &undo_mine(), ["loaded 1 nodes"]);
    let mut scenario = start();
    scenario.turn(Bob, &root("b"));
    let before = scenario.document();
    scenario
        .blocked(Alice, &undo_mine(), "the graph has changed since", 2)
        .emits(Alice, &force_undo_mine(), ["loaded 1 nodes"])
        .emits(Alice, &redo_mine(), ["loaded 1 nodes"]);
    assert_eq!(scenario.document(), before);
    // A step before a load conflicts with the loaded graph.
    start().blocked(Bob, &undo_mine(), "node a is gone", 1);
}

/// P9: exactly the last `undo_depth_max` commands can be undone, over all authors.
#[test]
fn undo_depth_is_shared_by_authors() {
    let limits = Limits {
        undo_depth_max: 3,
        ..Limits::default()
    };
    let mut scenario = Scenario::with(
        limits,
        [
            (Alice, root("a")),
            (Alice, root("b")),
            (Bob, root("x")),
            (Bob, root("y")),
        ],
    );
    scenario
        .emits(Alice, &undo_mine(), [r#"deleted b at roots[1]: t "b""#])
        .code(Alice, &undo_mine(), "NOTHING_TO_UNDO");
    for letter in ["u", "v", "w"] {
        scenario.turn(Bob, &root(letter));
    }
    // Commands of others do not evict undone steps. A redone step that is older than every step that can be undone is
    // evicted.
    scenario
        .emits(Alice, &redo_mine(), [r#"created b at roots[1]: t "b""#])
        .code(Alice, &undo_mine(), "NOTHING_TO_UNDO");
    assert_eq!(scenario.depths(), (3, 0));
}

/// LOG-5: a log has the same meaning under a higher limit: a redone step that was beyond the limit at the time was not
/// the next step then.
#[test]
fn log_replays_under_higher_undo_depth() {
    let limits = Limits {
        undo_depth_max: 2,
        ..Limits::default()
    };
    let mut scenario = Scenario::with(
        limits,
        [
            (Alice, root("a")),
            (Alice, undo_mine()),
            (Bob, root("b")),
            (Bob, root("c")),
            (Bob, root("d")),
            (Bob, undo_mine()),
            (Alice, redo_mine()),
        ],
    );
    scenario.turn(Carol, &undo_last());
    scenario.code(Alice, &undo_mine(), "NOTHING_TO_UNDO");
    scenario.code(Carol, &undo_last(), "NOTHING_TO_UNDO");
    scenario.turn(Carol, &redo_last());
    scenario.turn(Bob, &undo_mine());
    let header = scenario.harness.session().header().clone();
    Harness::resume(header, Setting::Free.rules(), scenario.harness.log()).expect("it is a sound log");
}

/// P9: the undone steps of all users are bounded in number and weight, and the oldest is evicted first.
#[test]
fn undone_steps_are_limited() {
    let limits = Limits {
        undo_depth_max: 2,
        ..Limits::default()
    };
    let mut scenario = Scenario::with(limits, []);
    for (user, letter) in [(Alice, "a"), (Bob, "b"), (Carol, "c")] {
        scenario.turn(user, &root(letter));
        scenario.turn(user, &undo_mine());
    }
    assert_eq!(scenario.harness.session().history().undone(), 2);
    scenario.code(Alice, &redo_mine(), "NOTHING_TO_REDO");
    scenario.turn(Bob, &redo_mine());

    let limits = Limits {
        undo_bytes_max: 5_000,
        ..Limits::default()
    };
    let text = |bytes: usize| json!("x".repeat(bytes));
    let mut scenario = Scenario::with(limits, [(Anonymous, root("a")), (Alice, set("a", "x", text(1_500)))]);
    scenario.turn(Alice, &undo_mine());
    scenario.turn(Bob, &set("a", "y", text(100)));
    assert_eq!(scenario.harness.session().history().undone(), 1);
    scenario.turn(Bob, &set("a", "y", text(2_500)));
    assert_eq!(
        scenario.harness.session().history().undone(),
        0,
        "undone steps are dropped before steps that can be undone"
    );
    assert!(scenario.harness.session().history().undo_depth() > 1);
}

/// P4: a retried undo does not undo another step, and an undo with force is another command.
#[test]
fn retried_undo_is_not_repeated() {
    let mut scenario = Scenario::of([(Alice, root("a")), (Alice, root("b"))]);
    let context = Context {
        author: Alice.author(),
        ..scenario.harness.next_context()
    };
    let first = scenario.harness.submit_with(&undo_mine(), &context);
    assert!(matches!(first, Ok(Accepted::Change(_))));
    let Ok(Accepted::Receipt(receipt)) = scenario.harness.submit_with(&undo_mine(), &context) else {
        unreachable!("it was done before");
    };
    assert!(receipt.duplicate);
    for other in [force_undo_mine(), undo_last(), redo_mine()] {
        let refused = scenario
            .harness
            .submit_with(&other, &context)
            .expect_err("it is another");
        assert_eq!(refused.code(), "COMMAND_ID_REUSED");
    }
    // Fingerprints of commands from before scope and force stay the same.
    assert_eq!(
        serde_json::to_value(undo_last()).expect("JSON"),
        json!({"Undo": {"scope": "session"}})
    );
    let force_undo_mine = serde_json::to_value(force_undo_mine()).expect("JSON");
    assert_eq!(force_undo_mine, json!({"Undo": {"scope": "mine", "force": true}}));
}

/// The conflict names the blocking command as far as it is known: from the replay window after the history has evicted
/// the step, and otherwise at least its `seq`.
#[test]
fn conflict_names_blocker_as_far_as_known() {
    let limits = |window| Limits {
        replay_window_events: window,
        ..Limits::default()
    };
    for (window, is_known) in [(100, true), (1, false)] {
        let mut scenario = Scenario::with(
            limits(window),
            [
                (Anonymous, root("a").with("x", json!(0))),
                (Alice, set("a", "x", json!(1))),
                (Bob, set("a", "x", json!(2))),
                (Alice, force_undo_mine()),
                (Bob, root("b")),
                // The new command drops Alice's undone step.
                (Alice, root("c")),
            ],
        );
        scenario.turn(Alice, &undo_mine());
        scenario.turn(Bob, &undo_mine());
        let Rejection::UndoConflict(conflict) = scenario.refused(Bob, &undo_mine()) else {
            unreachable!("the value is not Bob's");
        };
        let blocked_by = conflict.blocked_by.expect("it is known when");
        let forced = &scenario.harness.log()[3];
        assert_eq!(blocked_by.command_id, is_known.then_some(forced.command_id));
        assert!(blocked_by.seq >= forced.first_seq && blocked_by.seq <= forced.seq());
    }
}

/// Loads the present graph with an additional root, as Alice.
fn loaded_beside(scenario: &Scenario, letter: &str) -> Command {
    let mut graph = scenario.document().graph;
    let content = graph.node(node("a")).expect("the node exists").content.clone();
    let end = graph.roots().len();
    graph.insert(node(letter), content, None, end).expect("it is free");
    load(graph)
}

/// U2: a step that was undone before a load and redone after it conflicts with the undo of the load, although its place
/// in the history is before the load.
#[test]
fn undo_of_load_conflicts_with_later_redo() {
    let mut scenario = Scenario::of([
        (Carol, root("a")),
        (Carol, set("a", "x", json!("x"))),
        (Bob, set("a", "x", json!("y"))),
        (Bob, undo_mine()),
    ]);
    let load = loaded_beside(&scenario, "e");
    scenario.turn(Alice, &load);
    scenario.turn(Bob, &redo_mine());
    scenario
        .code(Alice, &undo_mine(), "UNDO_CONFLICT")
        .emits(Bob, &undo_mine(), [r#"a.x: "y" -> "x""#]);
    scenario.turn(Alice, &undo_mine());
}

/// U2: an undo whose step was dropped by a new command of its author conflicts with the undo of a load as well.
#[test]
fn undo_of_load_conflicts_with_dropped_undo() {
    let mut scenario = Scenario::of([
        (Carol, root("a")),
        (Carol, set("a", "x", json!("x"))),
        (Bob, set("a", "x", json!("y"))),
    ]);
    let load = loaded_beside(&scenario, "e");
    scenario.turn(Alice, &load);
    scenario.turn(Bob, &undo_mine());
    scenario.turn(Bob, &root("m"));
    scenario.turn(Bob, &undo_mine());
    scenario.code(Alice, &undo_mine(), "UNDO_CONFLICT");
    scenario.turn(Carol, &set("a", "x", json!("y")));
    scenario.turn(Alice, &undo_mine());
}

/// P9: an undone deletion respects the limits, also if a redo has moved the parent meanwhile.
#[test]
fn undo_of_deletion_respects_limits_after_redo() {
    let limits = Limits {
        depth_max: 3,
        ..Limits::default()
    };
    let mut scenario = Scenario::with(
        limits,
        [
            (Carol, root("a")),
            (Carol, child("b", "a")),
            (Carol, root("p")),
            (Bob, move_node("p", "b")),
            (Bob, undo_mine()),
            (Carol, child("q", "p")),
            (Alice, delete("q")),
            (Bob, redo_mine()),
        ],
    );
    scenario.code(Alice, &undo_mine(), "LIMIT_EXCEEDED");
}
