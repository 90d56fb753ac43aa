//! `Undo` and `Redo` with scope `mine`, among changes of others (U1 to U9).

use std::sync::Arc;

use serde_json::json;
use talus_actors::domain::{
    command::{Command, CommandType, Context, Scope},
    decide::Decision,
    event::Document,
    graph::{Graph, Node},
    invariants,
    limits::Limits,
    recorded::Recorded,
    rejection::{BlockedBy, Rejection},
    session::{Rules, Session, Snapshot},
    testing::{
        bench::Bench,
        sample::Setting,
        users::User::{self, Alice, Bob, Carol, CarolElsewhere, Nobody},
    },
};

use super::{
    case::told,
    commands::{Said, batch, child, delete, link, load, node, relocate, reorder, root, set, to_roots, unlink, unset},
    telling::shorten,
};

const fn mine() -> Command {
    Command::undo(Scope::Mine)
}

const fn mine_again() -> Command {
    Command::redo(Scope::Mine)
}

const fn by_force() -> Command {
    Command::Undo {
        scope: Scope::Mine,
        force: true,
    }
}

const fn again_by_force() -> Command {
    Command::Redo {
        scope: Scope::Mine,
        force: true,
    }
}

const fn last() -> Command {
    Command::undo(Scope::Session)
}

const fn last_again() -> Command {
    Command::redo(Scope::Session)
}

/// Session with the actions of several users.
struct Story {
    bench: Bench,
}

impl Story {
    fn of<const N: usize>(turns: [(User, Command); N]) -> Self {
        Self::with(Limits::default(), turns)
    }

    fn with<const N: usize>(limits: Limits, turns: [(User, Command); N]) -> Self {
        let rules = Rules {
            limits: Arc::new(limits),
            ..Setting::Free.rules()
        };
        let bench = Bench::new(talus_actors::domain::testing::sample::genesis(), rules);
        let mut story = Self { bench };
        for (user, command) in turns {
            story.turn(user, &command);
        }
        story
    }

    /// Sends a command that has to change the session.
    #[track_caller]
    fn turn(&mut self, user: User, command: &Command) -> Arc<Recorded> {
        let decision = self.bench.submit_as(user, command);
        let Ok(Decision::Change(recorded)) = decision else {
            unreachable!("{command:?} of {user:?} became {decision:?}");
        };
        assert_eq!(invariants::check(self.bench.session()), Ok(()));
        assert!(self.bench.replayed().as_ref() == Ok(self.bench.session()));
        recorded
    }

    /// Sends a command that has to emit exactly these events.
    #[track_caller]
    fn tells<const N: usize>(&mut self, user: User, command: &Command, events: [&str; N]) -> &mut Self {
        let recorded = self.turn(user, command);
        assert_eq!(told(&recorded.events), events);
        self
    }

    #[track_caller]
    fn refused(&mut self, user: User, command: &Command) -> Rejection {
        let before = self.document();
        let decision = self.bench.submit_as(user, command);
        assert_eq!(self.document(), before);
        decision.expect_err("it is refused")
    }

    /// Expects a conflict with the record at an index, counted from 0, and its message.
    #[track_caller]
    fn blocked(&mut self, user: User, command: &Command, message: &str, by: usize) -> &mut Self {
        let rejection = self.refused(user, command);
        assert_eq!(rejection.code(), "UNDO_CONFLICT", "{rejection}");
        assert_eq!(shorten(&rejection.to_string()), message);
        let Rejection::UndoConflict(conflict) = rejection else {
            unreachable!("the code says so");
        };
        assert_eq!(conflict.blocked_by, Some(BlockedBy::from(&*self.bench.log()[by])));
        self
    }

    #[track_caller]
    fn code(&mut self, user: User, command: &Command, code: &str) -> &mut Self {
        assert_eq!(self.refused(user, command).code(), code);
        self
    }

    fn document(&self) -> Document {
        self.bench.session().document().clone()
    }

    fn depths(&self) -> (usize, usize) {
        let history = self.bench.session().history();
        (history.undo_depth(), history.redo_depth())
    }
}

/// U1: each user's undo takes the user's own last command, whatever others did since.
#[test]
fn an_undo_takes_ones_own_last_command() {
    let mut story = Story::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, set("a", "x", json!(1))),
        (Bob, set("b", "x", json!(2))),
    ]);
    story
        .tells(Alice, &mine(), ["a.x: 1 -> gone"])
        .tells(Alice, &mine(), [r#"deleted a at roots[0]: t "a""#])
        .code(Alice, &mine(), "NOTHING_TO_UNDO")
        .tells(Bob, &mine(), ["b.x: 2 -> gone"])
        .tells(Alice, &mine_again(), [r#"created a at roots[0]: t "a""#])
        .tells(Alice, &mine_again(), ["a.x: nothing -> 1"])
        .code(Alice, &mine_again(), "NOTHING_TO_REDO")
        .tells(Bob, &mine_again(), ["b.x: nothing -> 2"]);
}

/// U1: a named user has the same steps on every client. An anonymous sender has no own steps.
#[test]
fn ones_own_are_the_users_or_else_the_clients() {
    let mut story = Story::of([(Carol, root("a")), (Nobody, root("b")), (Alice, root("c"))]);
    story.code(Bob, &mine(), "NOTHING_TO_UNDO");
    for command in [mine(), mine_again(), by_force()] {
        let rejection = story.refused(Nobody, &command);
        assert!(rejection.is_malformed(), "{rejection}");
        assert!(
            matches!(rejection, Rejection::InvalidRequest { field: "scope", .. }),
            "{rejection:?}"
        );
    }
    story
        .tells(CarolElsewhere, &mine(), [r#"deleted a at roots[0]: t "a""#])
        .tells(Carol, &mine_again(), [r#"created a at roots[0]: t "a""#]);
}

/// U1: own steps are folded from the log and are part of the snapshot.
#[test]
fn ones_own_outlives_a_restart() {
    let mut story = Story::of([
        (Alice, root("a")),
        (Alice, set("a", "x", json!(1))),
        (Bob, root("b")),
        (Alice, mine()),
        (Bob, set("b", "x", json!(2))),
    ]);
    story.bench.restart().expect("it replays");
    story.tells(Alice, &mine_again(), ["a.x: nothing -> 1"]);
    let text = serde_json::to_string(&story.bench.session().snapshot()).expect("JSON");
    let snapshot: Snapshot = serde_json::from_str(&text).expect("it is read");
    let session = story.bench.session();
    let (genesis, rules) = (session.genesis().clone(), session.rules().clone());
    let restored = Session::replay(genesis, rules, Some(snapshot), []).expect("it replays");
    let next = restored
        .history()
        .next_undo_of(&Alice.origin().author().expect("she has a name"));
    assert_eq!(
        next.expect("she did something").target().command_type,
        CommandType::UpdateProperty
    );
}

/// U2: a property is restored only if it still has the value that the step wrote. The conflict names the later author,
/// and force overrides it.
#[test]
fn a_property_goes_back_from_what_one_wrote() {
    let start = || {
        Story::of([
            (Nobody, root("a").with("x", json!(0))),
            (Alice, set("a", "x", json!(1))),
            (Bob, set("a", "x", json!(2))),
        ])
    };
    let changed = r#"property "x" of node a has changed since"#;
    start()
        .blocked(Alice, &mine(), changed, 2)
        .tells(Alice, &by_force(), ["a.x: 2 -> 0"])
        // Now Bob's value has been overridden.
        .blocked(Bob, &mine(), changed, 3)
        .tells(Alice, &mine_again(), ["a.x: 0 -> 2"])
        .blocked(Alice, &mine(), changed, 2)
        .tells(Bob, &mine(), ["a.x: 2 -> 1"])
        .tells(Alice, &mine(), ["a.x: 1 -> 0"]);
    // Other properties, and the same property of other nodes, do not conflict.
    let mut story = start();
    story.turn(Bob, &mine());
    story.turn(Bob, &set("a", "y", json!(3)));
    story.tells(Alice, &mine(), ["a.x: 1 -> 0"]);
    // The conflict names the last author, not the first.
    let mut story = start();
    story.turn(Carol, &set("a", "x", json!(3)));
    story.turn(Bob, &set("a", "y", json!(3)));
    story.blocked(Alice, &mine(), changed, 3);
}

/// U2: the same holds for names and for deleted properties.
#[test]
fn names_and_deleted_properties_are_values_too() {
    let mut story = Story::of([
        (Nobody, root("a").with("x", json!(0))),
        (Alice, set("a", "name", json!("A"))),
        (Bob, set("a", "name", json!("B"))),
        (Alice, unset("a", "x")),
        (Bob, set("a", "x", json!(2))),
    ]);
    story
        .blocked(Alice, &mine(), r#"property "x" of node a has changed since"#, 4)
        .tells(Alice, &by_force(), ["a.x: 2 -> 0"])
        .blocked(Alice, &mine(), r#"property "name" of node a has changed since"#, 2)
        .tells(Alice, &by_force(), [r#"a.name: "B" -> "a""#]);
}

/// U2: an undo of a property that another user has already deleted sets and deletes it, so that the undo has a record.
#[test]
fn an_undo_that_comes_to_nothing_is_an_undo() {
    let mut story = Story::of([
        (Nobody, root("a")),
        (Alice, set("a", "x", json!(1))),
        (Bob, unset("a", "x")),
    ]);
    let before = story.document();
    story
        .blocked(Alice, &mine(), r#"property "x" of node a has changed since"#, 2)
        .tells(Alice, &by_force(), ["a.x: nothing -> 1", "a.x: 1 -> gone"]);
    assert_eq!(story.document(), before);
    story.code(Alice, &mine(), "NOTHING_TO_UNDO");
    story.turn(Alice, &mine_again());
    assert_eq!(story.document(), before);
    story.tells(Bob, &mine(), ["a.x: nothing -> 1"]);
}

/// U2: a change to a node that was deleted since cannot be undone, even with force, until the node is restored.
#[test]
fn what_is_gone_does_not_go_back() {
    for change in [set("b", "x", json!(1)), reorder("b", 0), to_roots("b"), child("c", "b")] {
        let mut story = Story::of([
            (Nobody, root("a")),
            (Nobody, child("z", "a")),
            (Nobody, child("b", "a")),
            (Alice, change.clone()),
            (Bob, delete("b")),
        ]);
        let gone = match change {
            Command::CreateNode(_) => "node c is gone",
            _ => "node b is gone",
        };
        story.blocked(Alice, &mine(), gone, 4);
        story.blocked(Alice, &by_force(), gone, 4);
        let rejection = story.refused(Alice, &mine());
        let Rejection::UndoConflict(conflict) = rejection else {
            unreachable!("{rejection}");
        };
        assert_eq!(shorten(&conflict.obstacle.to_string()), gone);
        story.turn(Bob, &mine());
        story.turn(Alice, &mine());
    }
}

/// U3: a subtree is restored with its ids and at its indices, whatever others did since, or at the end if there are
/// fewer siblings.
#[test]
fn a_deleted_subtree_comes_back() {
    let start = || {
        Story::of([
            (Nobody, root("p")),
            (Nobody, batch([child("x", "p"), child("y", "p")])),
            (Nobody, batch([child("a", "p"), child("b", "a"), child("c", "a")])),
            (Nobody, child("d", "b")),
            (Alice, delete("a")),
        ])
    };
    let mut story = start();
    story.turn(Bob, &child("z", "p"));
    story.turn(Bob, &set("p", "x", json!(1)));
    story.tells(
        Alice,
        &mine(),
        [
            r#"created a at p[2]: t "a""#,
            r#"created b at a[0]: t "b""#,
            r#"created d at b[0]: t "d""#,
            r#"created c at a[1]: t "c""#,
        ],
    );
    let mut story = start();
    story.turn(Bob, &batch([delete("x"), delete("y")]));
    let recorded = story.turn(Alice, &mine());
    assert_eq!(told(&recorded.events[..1]), [r#"created a at p[0]: t "a""#]);
}

/// U3: a deleted parent or a taken id is named in the conflict.
#[test]
fn a_deleted_node_needs_its_parent_and_its_id() {
    let start = || Story::of([(Nobody, root("p")), (Nobody, child("a", "p")), (Alice, delete("a"))]);
    let mut story = start();
    story.turn(Bob, &delete("p"));
    story
        .blocked(Alice, &mine(), "node p is gone", 3)
        .blocked(Alice, &by_force(), "node p is gone", 3)
        .tells(Bob, &mine(), [r#"created p at roots[0]: t "p""#])
        .tells(Alice, &mine(), [r#"created a at p[0]: t "a""#]);
    let mut story = start();
    story.turn(Bob, &root("a"));
    story.blocked(Alice, &mine(), "node a is there already", 3).blocked(
        Alice,
        &by_force(),
        "node a is there already",
        3,
    );
}

/// U3, P9: a restored node has to fit within the limits.
#[test]
fn what_comes_back_holds_the_limits() {
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
        let start = [(Nobody, root("p")), (Nobody, child("a", "p").with("x", json!(1)))];
        let mut story = Story::with(limits.clone(), start);
        story.turn(Alice, &change);
        story.turn(Bob, &meanwhile);
        story.code(Alice, &mine(), "LIMIT_EXCEEDED");
        story.code(Alice, &by_force(), "LIMIT_EXCEEDED");
        story.turn(Bob, &mine());
        story.turn(Alice, &mine());
    }
}

/// U4: a created node that another user changed, moved or added children to stays, and the conflict names that user.
#[test]
fn a_created_node_goes_if_nobody_took_it_up() {
    let start = || {
        Story::of([
            (Nobody, root("p")),
            (Alice, child("a", "p")),
            (Nobody, child("z", "p")),
            (Nobody, root("q")),
        ])
    };
    for (change, message) in [
        (set("a", "x", json!(1)), "node a has changed since"),
        (set("a", "name", json!("A")), "node a has changed since"),
        (child("b", "a"), "node a has something under it now"),
        (relocate("z", "a"), "node a has something under it now"),
        (relocate("a", "q"), "node a has been moved since"),
        (reorder("a", 1), "node a has been moved since"),
    ] {
        let mut story = start();
        story.turn(Bob, &change);
        let before = story.document();
        story.blocked(Alice, &mine(), message, 4);
        // With force the node is deleted with its subtree, and a redo restores the subtree.
        story.turn(Alice, &by_force());
        assert!(!story.document().graph.contains(node("a")));
        story.turn(Alice, &mine_again());
        assert_eq!(story.document(), before);
        // After the other users have undone their changes, there is no conflict.
        story.turn(Bob, &mine());
        story.tells(Alice, &mine(), [r#"deleted a at p[0]: t "a""#]);
    }
    // Changes of siblings do not conflict.
    let mut story = start();
    story.turn(Bob, &child("b", "p").at(0));
    story.tells(Alice, &mine(), [r#"deleted a at p[1]: t "a""#]);
}

/// U4: with force, the whole subtree is deleted.
#[test]
fn by_force_a_created_node_takes_along_what_is_under_it() {
    let mut story = Story::of([
        (Alice, batch([root("a"), child("b", "a")])),
        (Bob, child("c", "a")),
        (Carol, child("d", "c")),
    ]);
    story
        .blocked(Alice, &mine(), "node a has something under it now", 1)
        .tells(
            Alice,
            &by_force(),
            [
                r#"deleted b at a[0]: t "b""#,
                r#"deleted d at c[0]: t "d""#,
                r#"deleted c at a[0]: t "c""#,
                r#"deleted a at roots[0]: t "a""#,
            ],
        )
        .blocked(Bob, &mine(), "node c is gone", 3)
        .tells(
            Alice,
            &mine_again(),
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
fn a_move_goes_back_if_nobody_moved_on() {
    let start = || {
        Story::of([
            (Nobody, batch([root("p"), root("q"), root("r")])),
            (Nobody, batch([child("a", "p"), child("b", "p"), child("c", "q")])),
            (Alice, relocate("a", "q")),
        ])
    };
    start().tells(
        Alice,
        &mine(),
        ["unlinked a from q[1]", "linked a to p[0], was roots[3]"],
    );
    for on in [relocate("a", "r"), reorder("a", 0), unlink("a", "q"), to_roots("a")] {
        let mut story = start();
        story.turn(Bob, &on);
        story.blocked(Alice, &mine(), "node a has been moved since", 3);
        let before = story.document();
        story.turn(Alice, &by_force());
        let graph = story.document().graph;
        assert_eq!(
            (graph.node(node("a")).and_then(Node::parent), graph.position(node("a"))),
            (Some(node("p")), Some(0))
        );
        story.turn(Alice, &mine_again());
        assert_eq!(story.document(), before);
    }
    // Other changes of the node and of its surroundings do not conflict.
    let mut story = start();
    story.turn(
        Bob,
        &batch([set("a", "x", json!(1)), child("d", "a"), delete("c"), delete("b")]),
    );
    story.tells(
        Alice,
        &mine(),
        ["unlinked a from q[0]", "linked a to p[0], was roots[3]"],
    );
    // The former parent has to exist and must not be below the node.
    let mut story = start();
    story.turn(Bob, &delete("p"));
    story.blocked(Alice, &by_force(), "node p is gone", 3);
    let mut story = start();
    story.turn(Bob, &relocate("p", "a"));
    story.blocked(Alice, &mine(), "node a would go below itself, to p", 3);
    story.blocked(Alice, &by_force(), "node a would go below itself, to p", 3);
}

/// A forced undo and a reordering of siblings count as changes for later undos.
#[test]
fn a_forced_undo_counts_as_a_change_too() {
    let mut story = Story::of([
        (Nobody, batch([root("a"), root("b"), root("c")])),
        (Alice, reorder("a", 2)),
        (Bob, reorder("a", 1)),
        (Alice, by_force()),
    ]);
    story.blocked(Bob, &mine(), "node a has been moved since", 3);
    story.turn(Alice, &mine_again());
    story.tells(
        Bob,
        &mine(),
        ["unlinked a from roots[1]", "linked a to roots[2], was roots[2]"],
    );
}

/// U5: an undo and its redo leave graph and history unchanged.
#[test]
fn undo_and_redo_are_the_identity() {
    let mut story = Story::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, set("a", "x", json!(1))),
        (Bob, set("b", "x", json!(1))),
    ]);
    let (before, stacks) = (story.document(), story.bench.session().history().stacks().clone());
    for _ in 0..3 {
        story.turn(Alice, &mine());
        story.turn(Alice, &mine());
        story.turn(Alice, &mine_again());
        story.turn(Alice, &mine_again());
        assert_eq!(story.document(), before);
        assert_eq!(*story.bench.session().history().stacks(), stacks);
    }
    story.tells(Alice, &last(), ["b.x: 1 -> gone"]);
}

/// U5: a redo emits the same kinds of events as the original link or unlink.
#[test]
fn a_redo_is_told_like_its_command() {
    let given = [(Nobody, root("a")), (Nobody, root("b")), (Nobody, child("c", "a"))];
    for command in [
        link("b", "a"),
        unlink("c", "a"),
        relocate("b", "c"),
        to_roots("c"),
        reorder("b", 0),
    ] {
        let mut story = Story::of(given.clone());
        let done = told(&story.turn(Alice, &command).events);
        story.turn(Alice, &mine());
        assert_eq!(told(&story.turn(Alice, &mine_again()).events), done, "{command:?}");
        story.turn(Alice, &mine());
        story.turn(Bob, &root("z"));
        story.turn(Alice, &mine_again());
    }
}

/// A redo requires the state that the undo left, or is refused like an undo.
#[test]
fn a_redo_clobbers_nothing_either() {
    let mut story = Story::of([
        (Nobody, root("a").with("x", json!(0))),
        (Alice, set("a", "x", json!(1))),
        (Alice, mine()),
        (Bob, set("a", "x", json!(2))),
    ]);
    story
        .blocked(Alice, &mine_again(), r#"property "x" of node a has changed since"#, 3)
        .tells(Alice, &again_by_force(), ["a.x: 2 -> 1"]);
    let mut story = Story::of([
        (Nobody, root("p")),
        (Alice, child("a", "p")),
        (Alice, mine()),
        (Bob, delete("p")),
    ]);
    story.blocked(Alice, &again_by_force(), "node p is gone", 3);
    let mut story = Story::of([
        (Nobody, root("a")),
        (Alice, delete("a")),
        (Alice, mine()),
        (Bob, child("b", "a")),
    ]);
    story.blocked(Alice, &mine_again(), "node a has something under it now", 3);
    let mut story = Story::of([
        (Nobody, batch([root("a"), root("b"), root("c")])),
        (Alice, reorder("a", 2)),
        (Alice, mine()),
        (Bob, reorder("a", 1)),
    ]);
    story
        .blocked(Alice, &mine_again(), "node a has been moved since", 3)
        .tells(
            Alice,
            &again_by_force(),
            ["unlinked a from roots[1]", "linked a to roots[2], was roots[2]"],
        );
}

/// U6: a new command drops the undone steps of its author and keeps those of others. The session can redo none of them.
#[test]
fn a_new_command_forgets_ones_own_redo() {
    let mut story = Story::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, mine()),
        (Bob, mine()),
        (Carol, root("c")),
    ]);
    story.code(Carol, &last_again(), "NOTHING_TO_REDO");
    story.turn(Bob, &mine_again());
    story.turn(Bob, &set("b", "x", json!(1)));
    story
        .code(Bob, &mine_again(), "NOTHING_TO_REDO")
        .tells(Alice, &mine_again(), [r#"created a at roots[0]: t "a""#])
        .code(Alice, &mine_again(), "NOTHING_TO_REDO");
}

/// U6: undone steps of an anonymous sender are dropped with the next command of any user.
#[test]
fn what_is_nobodys_is_redone_by_the_session_only() {
    let mut story = Story::of([(Nobody, root("a")), (Alice, last())]);
    story.code(Alice, &mine_again(), "NOTHING_TO_REDO");
    story.turn(Alice, &last_again());
    story.turn(Alice, &last());
    story.turn(Bob, &root("b"));
    story.code(Alice, &last_again(), "NOTHING_TO_REDO");
    assert_eq!(story.bench.session().history().undone(), 0);
}

/// U7: an undo is a command of its own with graph events, and names the command of its step.
#[test]
fn an_undo_of_ones_own_is_a_record() {
    let mut story = Story::of([(Alice, root("a")), (Bob, root("b"))]);
    let target = story.bench.log()[0].command_id;
    for (command, kind) in [(mine(), CommandType::Undo), (mine_again(), CommandType::Redo)] {
        let recorded = story.turn(Alice, &command);
        assert_eq!((recorded.command_type, recorded.scope), (kind, Scope::Mine));
        let told = recorded.target.expect("it has one");
        assert_eq!((told.command_id, told.command_type), (target, CommandType::CreateNode));
        assert_eq!(recorded.origin, Alice.origin());
    }
}

/// U8: a batch is one step: it is undone as a whole or not at all.
#[test]
fn a_batch_is_one_step() {
    let mut story = Story::of([
        (Nobody, root("p")),
        (
            Alice,
            batch([child("a", "p"), child("b", "p"), set("p", "x", json!(1))]),
        ),
        (Bob, root("z")),
    ]);
    story.tells(
        Alice,
        &mine(),
        [
            "p.x: 1 -> gone",
            r#"deleted b at p[1]: t "b""#,
            r#"deleted a at p[0]: t "a""#,
        ],
    );
    story.turn(Alice, &mine_again());
    story.turn(Bob, &set("a", "y", json!(1)));
    story.blocked(Alice, &mine(), "node a has changed since", 5);
    story.code(Alice, &mine_again(), "NOTHING_TO_REDO");
}

/// U8: changes of a node within one batch do not conflict with each other.
#[test]
fn a_batch_finds_what_it_did_itself() {
    let mut story = Story::of([
        (Nobody, root("p")),
        (
            Alice,
            batch([
                root("a").with("x", json!(1)),
                relocate("a", "p"),
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
    let before = story.document();
    story.turn(Alice, &mine());
    assert!(!story.document().graph.contains(node("a")));
    story.turn(Alice, &mine_again());
    assert_eq!(story.document(), before);
}

/// U9: both scopes work on one history. The session's undo takes the last done step of any author, including after
/// undos of others, and its author can redo the step.
#[test]
fn the_session_takes_the_last_that_is_left() {
    let mut story = Story::of([
        (Alice, root("a")),
        (Bob, root("b")),
        (Alice, root("c")),
        (Alice, mine()),
    ]);
    assert_eq!(story.depths(), (2, 1));
    story.tells(Alice, &last(), [r#"deleted b at roots[1]: t "b""#]);
    story.code(Bob, &mine(), "NOTHING_TO_UNDO");
    // Any user redoes the step that was undone last.
    story
        .tells(Carol, &last_again(), [r#"created b at roots[1]: t "b""#])
        .tells(Carol, &last_again(), [r#"created c at roots[2]: t "c""#])
        .tells(Carol, &last(), [r#"deleted c at roots[2]: t "c""#])
        .tells(Carol, &last(), [r#"deleted b at roots[1]: t "b""#])
        .tells(Bob, &mine_again(), [r#"created b at roots[1]: t "b""#])
        .tells(Alice, &mine_again(), [r#"created c at roots[2]: t "c""#]);
    assert_eq!(story.depths(), (3, 0));
}

/// U9: the session's undo also requires the state that its step left, because an earlier step may have been undone by
/// force.
#[test]
fn the_session_clobbers_nothing_either() {
    let mut story = Story::of([
        (Nobody, root("a").with("x", json!(0))),
        (Alice, set("a", "x", json!(1))),
        (Bob, set("a", "x", json!(2))),
        (Alice, by_force()),
    ]);
    let changed = r#"property "x" of node a has changed since"#;
    story.blocked(Carol, &last(), changed, 3);
    let by_force = Command::Undo {
        scope: Scope::Session,
        force: true,
    };
    story.tells(Carol, &by_force, ["a.x: 0 -> 1"]);
}

/// U9: the same without force, because an earlier step may have been undone.
#[test]
fn the_session_needs_what_its_step_needs() {
    let mut story = Story::of([
        (Alice, root("p")),
        (Bob, child("a", "p")),
        (Bob, delete("a")),
        (Alice, mine()),
    ]);
    story.blocked(Carol, &last(), "node p is gone", 3);
    story.turn(Alice, &mine_again());
    story.tells(Carol, &last(), [r#"created a at p[0]: t "a""#]);
}

/// A load is a step. Its undo would discard later changes of others.
#[test]
fn a_load_goes_back_if_nobody_went_on() {
    let start = || Story::of([(Bob, root("a")), (Alice, load(Graph::default()))]);
    start().tells(Alice, &mine(), ["loaded 1 nodes"]);
    let mut story = start();
    story.turn(Bob, &root("b"));
    let before = story.document();
    story
        .blocked(Alice, &mine(), "the graph has changed since", 2)
        .tells(Alice, &by_force(), ["loaded 1 nodes"])
        .tells(Alice, &mine_again(), ["loaded 1 nodes"]);
    assert_eq!(story.document(), before);
    // A step before a load conflicts with the loaded graph.
    start().blocked(Bob, &mine(), "node a is gone", 1);
}

/// P9: exactly the last `undo_depth_max` commands can be undone, over all authors.
#[test]
fn the_undo_depth_is_the_sessions() {
    let limits = Limits {
        undo_depth_max: 3,
        ..Limits::default()
    };
    let mut story = Story::with(
        limits,
        [
            (Alice, root("a")),
            (Alice, root("b")),
            (Bob, root("x")),
            (Bob, root("y")),
        ],
    );
    story
        .tells(Alice, &mine(), [r#"deleted b at roots[1]: t "b""#])
        .code(Alice, &mine(), "NOTHING_TO_UNDO");
    for letter in ["u", "v", "w"] {
        story.turn(Bob, &root(letter));
    }
    // Commands of others do not evict undone steps. A redone step that is older than every step that can be undone is
    // evicted.
    story
        .tells(Alice, &mine_again(), [r#"created b at roots[1]: t "b""#])
        .code(Alice, &mine(), "NOTHING_TO_UNDO");
    assert_eq!(story.depths(), (3, 0));
}

/// LOG-5: a log has the same meaning under a higher limit: a redone step that was beyond the limit at the time was not
/// the next step then.
#[test]
fn a_log_outlives_a_higher_undo_depth() {
    let limits = Limits {
        undo_depth_max: 2,
        ..Limits::default()
    };
    let mut story = Story::with(
        limits,
        [
            (Alice, root("a")),
            (Alice, mine()),
            (Bob, root("b")),
            (Bob, root("c")),
            (Bob, root("d")),
            (Bob, mine()),
            (Alice, mine_again()),
        ],
    );
    story.turn(Carol, &last());
    story.code(Alice, &mine(), "NOTHING_TO_UNDO");
    story.code(Carol, &last(), "NOTHING_TO_UNDO");
    story.turn(Carol, &last_again());
    story.turn(Bob, &mine());
    let genesis = story.bench.session().genesis().clone();
    Bench::resume(genesis, Setting::Free.rules(), story.bench.log()).expect("it is a sound log");
}

/// P9: the undone steps of all users are bounded in number and weight, and the oldest is evicted first.
#[test]
fn what_is_undone_has_limits() {
    let limits = Limits {
        undo_depth_max: 2,
        ..Limits::default()
    };
    let mut story = Story::with(limits, []);
    for (user, letter) in [(Alice, "a"), (Bob, "b"), (Carol, "c")] {
        story.turn(user, &root(letter));
        story.turn(user, &mine());
    }
    assert_eq!(story.bench.session().history().undone(), 2);
    story.code(Alice, &mine_again(), "NOTHING_TO_REDO");
    story.turn(Bob, &mine_again());

    let limits = Limits {
        undo_bytes_max: 5_000,
        ..Limits::default()
    };
    let text = |bytes: usize| json!("x".repeat(bytes));
    let mut story = Story::with(limits, [(Nobody, root("a")), (Alice, set("a", "x", text(1_500)))]);
    story.turn(Alice, &mine());
    story.turn(Bob, &set("a", "y", text(100)));
    assert_eq!(story.bench.session().history().undone(), 1);
    story.turn(Bob, &set("a", "y", text(2_500)));
    assert_eq!(
        story.bench.session().history().undone(),
        0,
        "it goes before what can be undone"
    );
    assert!(story.bench.session().history().undo_depth() > 1);
}

/// P4: a retried undo does not undo another step, and an undo with force is another command.
#[test]
fn an_undo_is_done_once() {
    let mut story = Story::of([(Alice, root("a")), (Alice, root("b"))]);
    let context = Context {
        origin: Alice.origin(),
        ..story.bench.next_context()
    };
    let first = story.bench.submit_with(&mine(), &context);
    assert!(matches!(first, Ok(Decision::Change(_))));
    let Ok(Decision::Answer(receipt)) = story.bench.submit_with(&mine(), &context) else {
        unreachable!("it was done before");
    };
    assert!(receipt.duplicate);
    for other in [by_force(), last(), mine_again()] {
        let refused = story.bench.submit_with(&other, &context).expect_err("it is another");
        assert_eq!(refused.code(), "COMMAND_ID_REUSED");
    }
    // Fingerprints of commands from before scope and force stay the same.
    assert_eq!(
        serde_json::to_value(last()).expect("JSON"),
        json!({"Undo": {"scope": "session"}})
    );
    let by_force = serde_json::to_value(by_force()).expect("JSON");
    assert_eq!(by_force, json!({"Undo": {"scope": "mine", "force": true}}));
}

/// The conflict names the blocking command as far as it is known: from the replay window after the history has evicted
/// the step, and otherwise at least its `seq`.
#[test]
fn who_is_in_the_way_may_be_long_ago() {
    let limits = |window| Limits {
        replay_window_events: window,
        ..Limits::default()
    };
    for (window, is_known) in [(100, true), (1, false)] {
        let mut story = Story::with(
            limits(window),
            [
                (Nobody, root("a").with("x", json!(0))),
                (Alice, set("a", "x", json!(1))),
                (Bob, set("a", "x", json!(2))),
                (Alice, by_force()),
                (Bob, root("b")),
                // The new command drops Alice's undone step.
                (Alice, root("c")),
            ],
        );
        story.turn(Alice, &mine());
        story.turn(Bob, &mine());
        let Rejection::UndoConflict(conflict) = story.refused(Bob, &mine()) else {
            unreachable!("the value is not his");
        };
        let blocked_by = conflict.blocked_by.expect("it is known when");
        let forced = &story.bench.log()[3];
        assert_eq!(blocked_by.command_id, is_known.then_some(forced.command_id));
        assert!(blocked_by.seq >= forced.first_seq && blocked_by.seq <= forced.seq());
    }
}

/// Loads the present graph with an additional root, as Alice.
fn loaded_beside(story: &Story, letter: &str) -> Command {
    let mut graph = story.document().graph;
    let content = graph.node(node("a")).expect("it is there").content.clone();
    let end = graph.roots().len();
    graph.insert(node(letter), content, None, end).expect("it is free");
    load(graph)
}

/// U2: a step that was undone before a load and redone after it conflicts with the undo of the load, although its place
/// in the history is before the load.
#[test]
fn a_load_does_not_go_back_over_what_was_redone_since() {
    let mut story = Story::of([
        (Carol, root("a")),
        (Carol, set("a", "x", json!("x"))),
        (Bob, set("a", "x", json!("y"))),
        (Bob, mine()),
    ]);
    let load = loaded_beside(&story, "e");
    story.turn(Alice, &load);
    story.turn(Bob, &mine_again());
    story
        .code(Alice, &mine(), "UNDO_CONFLICT")
        .tells(Bob, &mine(), [r#"a.x: "y" -> "x""#]);
    story.turn(Alice, &mine());
}

/// U2: an undo whose step was dropped by a new command of its author conflicts with the undo of a load as well.
#[test]
fn a_load_does_not_go_back_over_an_undo_that_is_forgotten() {
    let mut story = Story::of([
        (Carol, root("a")),
        (Carol, set("a", "x", json!("x"))),
        (Bob, set("a", "x", json!("y"))),
    ]);
    let load = loaded_beside(&story, "e");
    story.turn(Alice, &load);
    story.turn(Bob, &mine());
    story.turn(Bob, &root("m"));
    story.turn(Bob, &mine());
    story.code(Alice, &mine(), "UNDO_CONFLICT");
    story.turn(Carol, &set("a", "x", json!("y")));
    story.turn(Alice, &mine());
}

/// P9: an undone deletion respects the limits, also if a redo has moved the parent meanwhile.
#[test]
fn what_comes_back_under_what_was_redone_holds_the_limits() {
    let limits = Limits {
        depth_max: 3,
        ..Limits::default()
    };
    let mut story = Story::with(
        limits,
        [
            (Carol, root("a")),
            (Carol, child("b", "a")),
            (Carol, root("p")),
            (Bob, relocate("p", "b")),
            (Bob, mine()),
            (Carol, child("q", "p")),
            (Alice, delete("q")),
            (Bob, mine_again()),
        ],
    );
    story.code(Alice, &mine(), "LIMIT_EXCEEDED");
}
