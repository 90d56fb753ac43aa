//! Invariants of every session after every command, checked exhaustively.
//!
//! The operations of the domain keep the invariants by construction. Tests call [`check`] after each step.
//!
//! | id | invariant |
//! |---|---|
//! | GR-1 | the graph is a forest: from each node the parents lead up to a root |
//! | GR-2 | parents and children agree, in both directions |
//! | GR-3 | each node is reachable from the roots, once, and siblings are in one dense order |
//! | GR-6 | the stored heights equal the counted heights |
//! | GR-9 | each node has a visible name, and the name is not also a property |
//! | GR-12 | the stored hash is the sum of the hashes of all records (P6) |
//! | SE-1 | the replay window is contiguous, has no empty record, and ends at the `seq` of the session (P1) |
//! | SE-2 | no change is later than the session's `seq` |
//! | SE-3 | each record of the replay window answers a retry, and the last outcome describes the present state (P4) |
//! | HI-1 | the next undo and redo, of the session and of each author, fit the document or are refused as a conflict |
//! | HI-2 | the stored weight of the history equals the weight of its steps |
//! | LI-1 | no limit is exceeded (P9) |
//!
//! Ids that begin with GR are defined in `docs/INVARIANTS.md`, and the others here.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    command::{Author, Command, Context, Scope},
    content::NodeContent,
    decide::{Decision, decide},
    document::Document,
    graph::{Graph, Node, WalkEvent},
    history::History,
    ids::{CommandId, NodeId, PropertyId, Seq},
    limits::{Limits, check_name, check_value},
    record::CommandRecord,
    rejection::Rejection,
    session::Session,
    siblings::Siblings,
    state_hash::StateHash,
};

/// Violated invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken: {what}")]
pub struct InvariantViolation {
    /// Id of the invariant, such as `GR-1`.
    pub invariant: &'static str,
    /// Description of the violation.
    pub what: String,
}

fn ensure(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Result<(), InvariantViolation> {
    if holds {
        return Ok(());
    }
    Err(InvariantViolation {
        invariant,
        what: what(),
    })
}

/// Checks all invariants of a session.
///
/// # Errors
/// Returns the first violated invariant.
pub fn check(session: &Session) -> Result<(), InvariantViolation> {
    check_graph(&session.document().graph)?;
    check_contents(session)?;
    check_log(session)?;
    check_history(session)?;
    check_limits(session)
}

/// Checks a graph by itself: GR-1, GR-2, GR-3, GR-6 and GR-12.
///
/// # Errors
/// Returns the first violated invariant.
pub fn check_graph(graph: &Graph) -> Result<(), InvariantViolation> {
    check_siblings(graph.roots(), || "the roots".to_owned())?;
    for root in graph.roots().iter() {
        let parent = graph.node(root).map(Node::parent);
        ensure(parent == Some(None), "GR-2", || {
            format!("root {root} has parent {parent:?}")
        })?;
    }
    for (id, node) in graph.nodes() {
        // A lineage longer than the number of nodes is a cycle.
        let top = graph.lineage(id).take(graph.len() + 1).last();
        let root = top.and_then(|top| graph.node(top)).map(Node::parent);
        ensure(root == Some(None), "GR-1", || format!("node {id} is below no root"))?;
        check_siblings(node.children(), || format!("the children of {id}"))?;
        for child in node.children().iter() {
            let parent = graph.node(child).map(Node::parent);
            ensure(parent == Some(Some(id)), "GR-2", || {
                format!("child {child} of {id} has parent {parent:?}")
            })?;
        }
        ensure(graph.position(id).is_some(), "GR-2", || {
            format!("node {id} is not among the children of {:?}", node.parent())
        })?;
    }
    check_state_hash(graph)?;
    check_walk(graph)
}

/// Checks GR-12.
fn check_state_hash(graph: &Graph) -> Result<(), InvariantViolation> {
    let mut counted = StateHash::default();
    let mut add_all = |parent, siblings: &Siblings| {
        let mut previous = None;
        for id in siblings.iter() {
            counted += StateHash::of_place(id, parent, previous);
            previous = Some(id);
        }
    };
    add_all(None, graph.roots());
    graph.nodes().for_each(|(id, node)| add_all(Some(id), node.children()));
    for (id, node) in graph.nodes() {
        counted += StateHash::of_content(id, &node.content);
    }
    let kept = graph.state_hash();
    ensure(kept == counted, "GR-12", || {
        format!("the graph's hash is {counted} and is said to be {kept}")
    })
}

/// Checks GR-3.
fn check_siblings(siblings: &Siblings, owner: impl Fn() -> String) -> Result<(), InvariantViolation> {
    let counted = siblings.iter().count();
    ensure(counted == siblings.len(), "GR-3", || {
        format!("{} say they are {} and are {counted}", owner(), siblings.len())
    })?;
    for (index, id) in siblings.iter().enumerate() {
        let found = (siblings.get(index), siblings.position(id));
        ensure(found == (Some(id), Some(index)), "GR-3", || {
            format!("{id} is at {index} of {}, which say {found:?}", owner())
        })?;
    }
    Ok(())
}

/// Checks GR-3 and GR-6 in one walk that meets each node once and measures the heights on the way up.
fn check_walk(graph: &Graph) -> Result<(), InvariantViolation> {
    let mut seen = BTreeSet::new();
    let mut heights: Vec<usize> = Vec::new();
    for step in graph.walk(None) {
        match step {
            WalkEvent::Enter(id, _) => {
                ensure(seen.insert(id), "GR-3", || format!("node {id} is reached twice"))?;
                heights.push(1);
                let (depth, counted) = (graph.depth(id), heights.len());
                ensure(depth == counted, "GR-6", || {
                    format!("node {id} is at {counted} and says {depth}")
                })?;
            }
            WalkEvent::Leave(id, _) => {
                let counted = heights.pop().unwrap_or_default();
                let kept = graph.height(id);
                ensure(kept == counted, "GR-6", || {
                    format!("node {id} is {counted} high and says {kept}")
                })?;
                if let Some(above) = heights.last_mut() {
                    *above = counted.max(*above - 1) + 1;
                }
            }
        }
    }
    ensure(seen.len() == graph.len(), "GR-3", || {
        format!("{} of {} nodes are reached", seen.len(), graph.len())
    })
}

/// Checks GR-9.
fn check_contents(session: &Session) -> Result<(), InvariantViolation> {
    let unlimited = Limits {
        name_chars_max: usize::MAX,
        ..Limits::default()
    };
    for (id, node) in session.document().graph.nodes() {
        let NodeContent { name, properties, .. } = &node.content;
        let fault = check_name(name, &unlimited).err();
        ensure(fault.is_none(), "GR-9", || {
            format!("node {id} is called {name:?}: {fault:?}")
        })?;
        let name_as_property = properties
            .keys()
            .find(|key| is_name(session, node.content.type_id.as_str(), key));
        ensure(name_as_property.is_none(), "GR-9", || {
            format!("node {id} has the property {name_as_property:?}")
        })?;
    }
    Ok(())
}

fn is_name(session: &Session, type_id: &str, property: &PropertyId) -> bool {
    let blueprint = session.rules().blueprint.as_ref();
    let node_type = blueprint.and_then(|blueprint| blueprint.node_type(type_id));
    let known = node_type.and_then(|node_type| node_type.name_property());
    property.as_str() == PropertyId::NAME || known.is_some_and(|known| known.id == *property)
}

/// Returns the records of the replay window, oldest first.
fn window_records(session: &Session) -> Vec<&CommandRecord> {
    let reached = (0..=session.seq().0).find_map(|seq| session.since(Seq(seq)));
    reached.map_or_else(Vec::new, |records| records.map(AsRef::as_ref).collect())
}

/// Checks SE-1 to SE-3.
fn check_log(session: &Session) -> Result<(), InvariantViolation> {
    let records = window_records(session);
    let ends = records.last().map_or(Seq::ZERO, |last| last.seq());
    ensure(ends == session.seq(), "SE-1", || {
        format!("the last record ends at {ends}, the session at {}", session.seq())
    })?;
    for two in records.windows(2) {
        ensure(two[1].first_seq == two[0].seq().plus(1), "SE-1", || {
            format!("after {} comes {}", two[0].seq(), two[1].first_seq)
        })?;
    }
    for record in &records {
        let id = record.command_id;
        ensure(!record.events.is_empty(), "SE-1", || {
            format!("the record of {id} is empty")
        })?;
        let remembered = session.recent(id).is_some_and(|known| **known == **record);
        ensure(remembered, "SE-3", || format!("a retry of {id} is not known"))?;
    }
    let last_change = session
        .document()
        .graph
        .nodes()
        .map(|(id, _)| session.changed(id))
        .max();
    let last_change = last_change.max(Some(session.last_change_of_roots()));
    ensure(last_change <= Some(session.seq()), "SE-2", || {
        format!(
            "something changed at {last_change:?}, the session is at {}",
            session.seq()
        )
    })?;
    let Some(last) = records.last() else { return Ok(()) };
    let history = session.history();
    let recorded = (
        last.outcome.undo_available,
        last.outcome.redo_available,
        last.outcome.is_dirty,
        last.outcome.state_hash,
    );
    let state_hash = session.document().graph.state_hash();
    let actual = (
        history.undo_depth() > 0,
        history.next_redo().is_some(),
        session.is_dirty(),
        Some(state_hash),
    );
    ensure(recorded == actual, "SE-3", || {
        format!("undo, redo, dirty, hash: recorded {recorded:?}, true {actual:?}")
    })
}

/// Checks undo and redo of the session and of each author in the replay window: HI-1 and HI-2.
///
/// # Errors
/// Fails if an undo or redo neither fits the document nor is refused as a conflict.
pub fn check_history(session: &Session) -> Result<(), InvariantViolation> {
    let history = session.history();
    let weighed = History::restore(history.stacks().clone()).weight_bytes();
    ensure(weighed == history.weight_bytes(), "HI-2", || {
        format!("the steps weigh {weighed} and say {}", history.weight_bytes())
    })?;
    let mut authors: Vec<Author> = vec![Author::default()];
    for record in window_records(session) {
        if !authors.contains(&record.author) {
            authors.push(record.author.clone());
        }
    }
    for author in authors {
        let scope = if author.key().is_some() {
            Scope::Mine
        } else {
            Scope::Session
        };
        for force in [false, true] {
            check_history_command(session, &Command::Undo { scope, force }, &author)?;
            check_history_command(session, &Command::Redo { scope, force }, &author)?;
        }
    }
    Ok(())
}

fn check_history_command(session: &Session, command: &Command, author: &Author) -> Result<(), InvariantViolation> {
    let context = Context {
        command_id: CommandId::new(Uuid::max()),
        author: author.clone(),
        now: session.last_activity(),
        expected_seq: None,
    };
    let mut draft: Document = session.document().clone();
    let broken = match decide(session, command, &context) {
        Ok(Decision::Change(recorded)) => {
            let fits = recorded.events.iter().try_for_each(|event| event.apply(&mut draft));
            fits.err().map(|error| error.to_string())
        }
        Ok(Decision::Receipt(_)) => Some("it changes nothing".to_owned()),
        Err(
            Rejection::NothingToUndo
            | Rejection::NothingToRedo
            | Rejection::UndoConflict(_)
            | Rejection::LimitExceeded(_),
        ) => None,
        Err(other) => Some(other.to_string()),
    };
    ensure(broken.is_none(), "HI-1", || {
        format!("{command:?} of {author:?}: {broken:?}")
    })
}

/// Checks LI-1.
fn check_limits(session: &Session) -> Result<(), InvariantViolation> {
    let limits = &session.rules().limits;
    let graph = &session.document().graph;
    let at_most = |found: usize, max: usize, limit: &str| {
        ensure(found <= max, "LI-1", || {
            format!("{found} is more than {limit}, which is {max}")
        })
    };
    at_most(graph.len(), limits.nodes_max, "nodes_max")?;
    let highest = graph.roots().iter().map(|root| graph.height(root)).max();
    at_most(highest.unwrap_or_default(), limits.depth_max, "depth_max")?;
    for (id, node) in graph.nodes() {
        check_content_limits(id, &node.content, limits)?;
    }
    let history = session.history();
    at_most(history.undo_depth(), limits.undo_depth_max, "undo_depth_max")?;
    at_most(history.undone(), limits.undo_depth_max, "undo_depth_max")?;
    let records = window_records(session);
    let events = records.iter().map(|record| record.wire_events()).sum();
    // The replay window keeps the latest record whatever its length.
    let most = limits
        .replay_window_events
        .max(records.last().map_or(0, |last| last.wire_events()));
    at_most(events, most, "replay_window_events")?;
    let bytes = records.iter().map(|record| record.weight_bytes()).sum();
    ensure(bytes == session.window_bytes(), "LI-1", || {
        format!("the window holds {bytes} bytes and counts {}", session.window_bytes())
    })?;
    let most = limits
        .replay_window_bytes_max
        .max(records.last().map_or(0, |last| last.weight_bytes()));
    at_most(bytes, most, "replay_window_bytes_max")
}

fn check_content_limits(id: NodeId, content: &NodeContent, limits: &Limits) -> Result<(), InvariantViolation> {
    let (count, max) = (content.properties.len(), limits.properties_per_node_max);
    ensure(count <= max, "LI-1", || format!("node {id} has {count} properties"))?;
    let name = check_name(&content.name, limits).err();
    ensure(name.is_none(), "LI-1", || format!("node {id}: {name:?}"))?;
    for (property, value) in content.properties.iter() {
        let fault = check_value(value, limits).err();
        ensure(fault.is_none(), "LI-1", || {
            format!("property {property} of node {id}: {fault:?}")
        })?;
    }
    Ok(())
}
