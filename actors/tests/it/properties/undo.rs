//! Properties of undo and redo by several users (U1 to U9).

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::*,
    sample::Index,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use talus_actors::domain::{
    command::{Command, CommandType, CreateNode, Scope},
    content::NodeContent,
    document::Document,
    event::Event,
    history::Step,
    ids::{NodeId, PropertyId},
    invariants,
    record::CommandRecord,
    session::{Session, Snapshot},
    testing::{
        harness::{Accepted, Harness},
        sample::Setting,
        users::{Turn, User, scope, turns},
    },
    value::Value,
};
use uuid::Uuid;

use crate::replica::Replica;

fn after(setting: Setting, turns: &[Turn]) -> Harness {
    let mut harness = setting.harness();
    for turn in turns {
        harness.take_turn(turn);
    }
    harness
}

fn document(harness: &Harness) -> Document {
    harness.session().document().clone()
}

const fn undo(scope: Scope, force: bool) -> Command {
    Command::Undo { scope, force }
}

const fn redo(scope: Scope) -> Command {
    Command::redo(scope)
}

/// Parts of a document written by a step: created, deleted and moved nodes, and set properties.
#[derive(Default)]
struct Written {
    nodes: BTreeSet<NodeId>,
    properties: BTreeSet<(NodeId, PropertyId)>,
    names: BTreeSet<NodeId>,
    whole_document: bool,
}

impl Written {
    fn by(recorded: &CommandRecord) -> Self {
        let mut written = Self::default();
        for event in &recorded.events {
            match event {
                Event::NodeCreated { node_id: id, .. }
                | Event::NodeDeleted { node_id: id, .. }
                | Event::NodeLinked { child_id: id, .. }
                | Event::NodeUnlinked { child_id: id, .. } => drop(written.nodes.insert(*id)),
                Event::PropertyChanged { node_id, property, .. } | Event::PropertyDeleted { node_id, property, .. } => {
                    if property.is_name() {
                        written.names.insert(*node_id);
                    } else {
                        written.properties.insert((*node_id, property.id.clone()));
                    }
                }
                Event::ProjectLoaded { .. } => written.whole_document = true,
                Event::ProjectSaved { .. } => {}
            }
        }
        written
    }

    /// Returns the untouched part of a document: nodes with parent and content, in the order of the tree.
    fn rest(&self, document: &Document) -> Vec<(NodeId, Option<NodeId>, NodeContent)> {
        let nodes = document.graph.walk(None).nodes();
        let untouched = nodes.filter(|(id, _)| !self.nodes.contains(id));
        let mut rest: Vec<_> = untouched
            .map(|(id, node)| {
                let mut content = node.content.clone();
                let properties = content.properties.into_iter();
                content.properties = properties
                    .filter(|(property, _)| !self.properties.contains(&(id, property.clone())))
                    .collect();
                if self.names.contains(&id) {
                    content.name = "".into();
                }
                (id, node.parent(), content)
            })
            .collect();
        // Siblings keep the order of the tree. The position of their subtree depends on touched nodes.
        rest.sort_by_key(|(_, parent, _)| *parent);
        rest
    }
}

proptest! {
    /// All invariants hold after undo and redo by several users.
    #[test]
    fn invariants_hold_with_several_users(setting in Setting::any(), turns in turns(1..50)) {
        let mut harness = setting.harness();
        for turn in &turns {
            harness.take_turn(turn);
            invariants::check(harness.session())?;
        }
    }

    /// U1: an undo or redo with scope `mine` acts on a step of its own author.
    #[test]
    fn scope_mine_targets_own_steps(setting in Setting::any(), turns in turns(1..50)) {
        let mut harness = setting.harness();
        for turn in &turns {
            let Some(recorded) = harness.take_turn(turn).recorded().cloned() else { continue };
            if let (Scope::Mine, Some(target)) = (recorded.scope, recorded.target) {
                let of = harness.log().iter().find(|other| other.command_id == target.command_id).expect("it was");
                prop_assert_eq!(of.author.key(), recorded.author.key());
            }
        }
    }

    /// U2: an undo with scope `mine` and without force changes only parts that its step wrote.
    #[test]
    fn undo_changes_only_what_its_step_wrote(
        setting in Setting::any(), turns in turns(1..40), user in User::any()
    ) {
        let mut harness = after(setting, &turns);
        while let Some(step) = user.author().key().and_then(|me| harness.session().history().next_undo_of(&me)) {
            let written = Written::by(step.recorded());
            let before = document(&harness);
            if harness.submit_as(user, &undo(Scope::Mine, false)).is_err() {
                prop_assert_eq!(document(&harness), before);
                break;
            }
            if !written.whole_document {
                prop_assert_eq!(written.rest(&document(&harness)), written.rest(&before));
            }
        }
    }

    /// U5: an undo and its redo leave document and history unchanged, in either scope and with or without force.
    #[test]
    fn undo_and_redo_are_inverse(
        setting in Setting::roomy(), turns in turns(1..40), user in User::any(), scope in scope(), force: bool
    ) {
        let mut harness = after(setting, &turns);
        let (before, stacks) = (document(&harness), harness.session().history().stacks().clone());
        let weight = harness.session().history().weight_bytes();
        if harness.submit_as(user, &undo(scope, force)).is_err() {
            return Ok(());
        }
        harness.submit_as(user, &redo(scope))?;
        prop_assert_eq!(document(&harness), before);
        prop_assert!(harness.session().history().stacks() == &stacks);
        prop_assert_eq!(harness.session().history().weight_bytes(), weight);
    }

    /// A series of undos and the matching redos leave the document unchanged.
    #[test]
    fn undo_series_and_redo_series_are_inverse(
        setting in Setting::roomy(), turns in turns(1..40), undos in prop::collection::vec((User::any(), scope(), any::<bool>()), 1..20)
    ) {
        let mut harness = after(setting, &turns);
        let (before, stacks) = (document(&harness), harness.session().history().stacks().clone());
        let mut undone = Vec::new();
        for (user, scope, force) in undos {
            if harness.submit_as(user, &undo(scope, force)).is_ok() {
                undone.push((user, scope));
            }
        }
        while let Some((user, scope)) = undone.pop() {
            harness.submit_as(user, &redo(scope))?;
        }
        prop_assert_eq!(document(&harness), before);
        prop_assert!(harness.session().history().stacks() == &stacks);
    }

    /// A series of undos and redos among the edits of another user affects only the own part of the graph.
    #[test]
    fn undo_series_is_independent_of_other_users(
        mine in prop::collection::vec(own_edit(), 1..15), theirs in prop::collection::vec(own_edit(), 1..40), few in 1..4_usize
    ) {
        let mut parts = SeparateParts::new();
        let mut theirs = theirs.iter().cycle().take(200);
        for edit in &mine {
            parts.edit(User::Alice, edit);
            parts.edit(User::Bob, theirs.next().expect("there are more"));
        }
        let before = parts.subtree(User::Alice);
        let mut undone = 0;
        while parts.turn(User::Alice, &undo(Scope::Mine, false)) {
            undone += 1;
            for edit in theirs.by_ref().take(few) {
                parts.edit(User::Bob, edit);
            }
        }
        prop_assert_eq!(parts.subtree(User::Alice).len(), 1, "all of it is undone");
        for _ in 0..undone {
            prop_assert!(parts.turn(User::Alice, &redo(Scope::Mine)));
            for edit in theirs.by_ref().take(few) {
                parts.edit(User::Bob, edit);
            }
        }
        prop_assert!(!parts.turn(User::Alice, &redo(Scope::Mine)));
        prop_assert_eq!(parts.subtree(User::Alice), before);
    }

    /// U6: a new command drops the undone steps of its author and the redo of the session, and keeps those of the other
    /// users.
    #[test]
    fn new_command_drops_own_undone_steps(setting in Setting::roomy(), turns in turns(1..40), user in User::any()) {
        let mut harness = after(setting, &turns);
        let next = |harness: &Harness, user: User| {
            let author = user.author().key()?;
            harness.session().history().next_redo_of(&author).map(Step::target)
        };
        let before = User::ALL.map(|user| next(&harness, user));
        let create = Command::CreateNode(CreateNode {
            node_type: "task".into(), name: None, parent_id: None, index: None,
            properties: BTreeMap::new(), node_id: None,
        });
        harness.submit_as(user, &create)?;
        prop_assert!(harness.session().history().next_redo().is_none());
        for (other, before) in User::ALL.into_iter().zip(before) {
            let is_author = other.author().key() == user.author().key();
            prop_assert_eq!(next(&harness, other), before.filter(|_| !is_author));
        }
    }

    /// P8: replay rebuilds the history, from the first record and from a snapshot of any time.
    #[test]
    fn replay_rebuilds_history(setting in Setting::any(), turns in turns(2..50), at in any::<Index>()) {
        let (before, later) = turns.split_at(at.index(turns.len()));
        let mut harness = after(setting, before);
        let text = serde_json::to_vec(&harness.session().snapshot()).expect("a snapshot is JSON");
        let snapshot: Snapshot = serde_json::from_slice(&text).expect("written JSON is read");
        prop_assert_eq!(&snapshot, &harness.session().snapshot());
        for turn in later {
            harness.take_turn(turn);
        }
        prop_assert!(&harness.replayed()? == harness.session());
        let session = harness.session();
        let (header, rules) = (session.header().clone(), session.rules().clone());
        let replayed = Session::replay(header, rules, Some(snapshot), harness.log().iter().cloned())?;
        prop_assert!(&replayed == session, "{:#?}\nis not\n{:#?}", replayed, session);
    }

    /// A log can be replayed under lower and higher limits of undo than at its writing.
    #[test]
    fn log_with_undos_replays_under_other_limits(
        setting in Setting::any(), turns in turns(2..60), at in any::<Index>(), depths in prop::collection::vec(1..8_usize, 2),
        undo_bytes_max in prop_oneof![500..4_000_usize, Just(1 << 20)]
    ) {
        let (before, later) = turns.split_at(at.index(turns.len()));
        let mut harness = after(setting, before);
        for undo_depth_max in depths {
            let mut rules = setting.rules();
            let limits = std::sync::Arc::make_mut(&mut rules.limits);
            (limits.undo_depth_max, limits.undo_bytes_max) = (undo_depth_max, undo_bytes_max);
            harness = Harness::resume(harness.session().header().clone(), rules, harness.log())?;
            for turn in later {
                harness.take_turn(turn);
                invariants::check_history(harness.session())?;
            }
        }
        let resumed = Harness::resume(harness.session().header().clone(), setting.rules(), harness.log())?;
        prop_assert_eq!(resumed.session().document(), harness.session().document());
    }

    /// P6: the events alone rebuild the graph, with undo and redo by several users.
    #[test]
    fn replica_has_same_tree_with_several_users(setting in Setting::any(), turns in turns(1..50)) {
        let mut harness = setting.harness();
        let (mut replica, mut applied) = (Replica::default(), 0);
        for turn in &turns {
            harness.take_turn(turn);
            let events = harness.log()[applied..].iter().flat_map(|recorded| &recorded.events);
            events.for_each(|event| replica.apply(event));
            applied = harness.log().len();
            prop_assert_eq!(replica.tree(), Replica::of(&harness.session().document().graph).tree());
        }
    }
}

/// Edit of a user within the user's own part of the graph.
#[derive(Debug, Clone)]
struct OwnEdit {
    kind: u8,
    node: Index,
    other: Index,
    value: i64,
}

fn own_edit() -> impl Strategy<Value = OwnEdit> {
    (0..8_u8, any::<Index>(), any::<Index>(), 0..100_i64).prop_map(|(kind, node, other, value)| OwnEdit {
        kind,
        node,
        other,
        value,
    })
}

/// Session in which each user edits only below an own root. The roots are created by the anonymous user.
struct SeparateParts {
    harness: Harness,
}

type Subtree = Vec<(usize, NodeId, NodeContent)>;

impl SeparateParts {
    const USERS: [User; 2] = [User::Alice, User::Bob];

    fn new() -> Self {
        let mut harness = Setting::Free.harness();
        for user in Self::USERS {
            let create = Self::create(None, Some(Self::root(user)));
            harness.submit_as(User::Anonymous, &create).expect("it is created");
        }
        Self { harness }
    }

    const fn root(user: User) -> NodeId {
        NodeId::new(Uuid::from_u128(0x900d + user as u128))
    }

    fn create(parent_id: Option<NodeId>, node_id: Option<NodeId>) -> Command {
        Command::CreateNode(CreateNode {
            node_type: "t".into(),
            name: None,
            parent_id,
            index: None,
            properties: BTreeMap::new(),
            node_id,
        })
    }

    /// Returns the subtree below a user's root, in document order.
    fn subtree(&self, user: User) -> Subtree {
        let graph = &self.harness.session().document().graph;
        let nodes = graph.walk(Some(Self::root(user))).nodes();
        nodes
            .map(|(id, node)| (graph.depth(id), id, node.content.clone()))
            .collect()
    }

    /// Sends a user's command and checks that the other user's subtree is unchanged.
    fn turn(&mut self, user: User, command: &Command) -> bool {
        let others = |parts: &Self| Self::USERS.map(|other| (other != user).then(|| parts.subtree(other)));
        let before = others(self);
        let is_done = match self.harness.submit_as(user, command) {
            Ok(decision) => matches!(decision, Accepted::Change(_)),
            Err(rejection) => {
                assert_ne!(rejection.code(), "UNDO_CONFLICT", "the users do not conflict");
                false
            }
        };
        assert_eq!(others(self), before);
        is_done
    }

    fn edit(&mut self, user: User, edit: &OwnEdit) {
        let ids: Vec<NodeId> = self.subtree(user).into_iter().map(|(_, id, _)| id).collect();
        let (node, other) = (*edit.node.get(&ids), *edit.other.get(&ids));
        let graph = &self.harness.session().document().graph;
        let can_move = node != ids[0] && !graph.lineage(other).any(|above| above == node);
        let command = match edit.kind {
            0..=2 => Self::create(Some(node), None),
            3 if node != ids[0] => Command::DeleteNode { node_id: node },
            4 | 5 if can_move => Command::MoveNode {
                node_id: node,
                new_parent_id: Some(other),
                index: Some(0),
            },
            6 => Command::UpdateProperty {
                node_id: node,
                property: "name".into(),
                new_value: Value::text(format!("N{}", edit.value)),
            },
            _ => Command::UpdateProperty {
                node_id: node,
                property: "x".into(),
                new_value: Value::from(serde_json::json!(edit.value)),
            },
        };
        self.turn(user, &command);
    }
}

/// The generated turns contain undo and redo in both scopes, with and without force, and conflicts of both.
#[test]
fn turns_reach_all_kinds_of_undo() {
    let mut runner = TestRunner::deterministic();
    let (mut done, mut refused) = (BTreeMap::<_, u32>::new(), BTreeMap::<_, u32>::new());
    for setting in Setting::ALL.iter().cycle().take(120) {
        let turns = turns(40).new_tree(&mut runner).expect("turns").current();
        let mut harness = setting.harness();
        for turn in &turns {
            let attempt = harness.take_turn(turn);
            let command = &attempt.sent.command;
            let (Command::Undo { scope, force } | Command::Redo { scope, force }) = command else {
                continue;
            };
            let kind = (command.kind(), *scope == Scope::Mine, *force);
            match attempt.result {
                Ok(_) => *done.entry(kind).or_default() += 1,
                Err(rejection) => *refused.entry((kind.0, rejection.code())).or_default() += 1,
            }
        }
    }
    assert_eq!(done.len(), 8, "{done:#?}");
    for kind in [CommandType::Undo, CommandType::Redo] {
        let conflicts = refused.get(&(kind, "UNDO_CONFLICT")).copied().unwrap_or_default();
        assert!(conflicts > 5, "{kind}: {refused:#?}");
    }
}
