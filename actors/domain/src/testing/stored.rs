//! Strategies for every type that a log stores. The values are well-formed but need not be consistent: an event may
//! name nodes that were never created.

use std::sync::Arc;

use proptest::{collection, option, prelude::*, sample::select};
use uuid::Uuid;

use super::values::{content, document, free_property, name, scalar, text, value};
use crate::{
    command::{Author, CommandType, Fingerprint, Scope},
    event::{Event, PropertyRef},
    ids::{ClientId, CommandId, Epoch, NodeId, ProjectId, Seq, SessionId, TemplateId, Timestamp},
    record::{CommandRecord, Outcome, Target},
    session::{Project, SessionHeader},
    state_hash::StateHash,
};

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

/// Generates a node id. Some ids repeat.
pub fn node_id() -> impl Strategy<Value = NodeId> {
    prop_oneof![(0_u128..4).prop_map(Uuid::from_u128), uuid()].prop_map(NodeId::new)
}

/// Generates a command id.
pub fn command_id() -> impl Strategy<Value = CommandId> {
    uuid().prop_map(CommandId::new)
}

/// Generates a session id.
pub fn session_id() -> impl Strategy<Value = SessionId> {
    uuid().prop_map(SessionId::new)
}

/// Generates an epoch.
pub fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u32>().prop_map(Epoch::new)
}

/// Generates a `seq` that a log can reach.
pub fn seq() -> impl Strategy<Value = Seq> {
    (0..u64::MAX / 2).prop_map(Seq)
}

/// Generates a timestamp.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

/// Generates a client id.
pub fn client_id() -> impl Strategy<Value = ClientId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().expect("a client id"))
}

/// Generates a project id.
pub fn project_id() -> impl Strategy<Value = ProjectId> {
    "[a-z0-9][a-z0-9_-]{0,63}".prop_map(|text| text.parse().expect("a project id"))
}

/// Generates a template id.
pub fn template_id() -> impl Strategy<Value = TemplateId> {
    "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}".prop_map(|text| text.parse().expect("a template id"))
}

/// Generates the author of a command.
pub fn author() -> impl Strategy<Value = Author> {
    (option::of(client_id()), option::of(text())).prop_map(|(client_id, user)| Author {
        client_id,
        user: user.map(|user| user.as_str().into()),
    })
}

/// Generates a command type.
pub fn command_type() -> impl Strategy<Value = CommandType> {
    select(&CommandType::ALL[..])
}

/// Generates a fingerprint.
pub fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    any::<u64>().prop_map(Fingerprint)
}

/// Generates a property reference, or a reference to the name.
pub fn property_ref() -> impl Strategy<Value = PropertyRef> {
    let key = option::of(prop_oneof![Just("name".into()), text()]);
    (free_property(), key).prop_map(|(id, key)| PropertyRef { id, key })
}

/// Generates an event of any variant.
pub fn event() -> BoxedStrategy<Event> {
    let parent = || option::of(node_id());
    prop_oneof![
        4 => (node_id(), parent(), 0..4_usize, content()).prop_map(|(node_id, parent_id, index, content)| {
            Event::NodeCreated { node_id, parent_id, index, content }
        }),
        4 => (node_id(), parent(), 0..4_usize, content()).prop_map(|(node_id, parent_id, index, content)| {
            Event::NodeDeleted { node_id, parent_id, index, content }
        }),
        4 => (parent(), node_id(), 0..4_usize, 0..4_usize).prop_map(|(parent_id, child_id, index, root_index)| {
            Event::NodeLinked { parent_id, child_id, index, root_index }
        }),
        4 => (parent(), node_id(), 0..4_usize).prop_map(|(parent_id, child_id, index)| {
            Event::NodeUnlinked { parent_id, child_id, index }
        }),
        4 => (node_id(), property_ref(), option::of(scalar()), value()).prop_map(|(node_id, property, before, after)| {
            Event::PropertyChanged { node_id, property, before, after, orphaned: false }
        }),
        4 => (node_id(), property_ref(), value()).prop_map(|(node_id, property, before)| {
            Event::PropertyDeleted { node_id, property, before }
        }),
        1 => (text(), seq()).prop_map(|(file, through)| Event::ProjectSaved { file: file.as_str().into(), through }),
        1 => (document(), any::<bool>()).prop_map(|(document, from_file)| Event::ProjectLoaded { document, from_file }),
    ]
    .boxed()
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let state_hash = option::of(any::<u64>().prop_map(StateHash::new));
    (collection::vec(node_id(), 0..3), flags, state_hash).prop_map(|(node_ids, flags, state_hash)| {
        let (undo_available, redo_available, is_dirty) = flags;
        Outcome {
            node_ids,
            undo_available,
            redo_available,
            is_dirty,
            state_hash,
        }
    })
}

/// Generates a scope.
pub fn scope() -> impl Strategy<Value = Scope> {
    select(&[Scope::Session, Scope::Mine][..])
}

fn target() -> impl Strategy<Value = Target> {
    (command_id(), command_type()).prop_map(|(command_id, command_type)| Target {
        command_id,
        command_type,
    })
}

/// Generates a record.
pub fn recorded() -> impl Strategy<Value = CommandRecord> {
    let command = (
        command_id(),
        command_type(),
        fingerprint(),
        (option::of(target()), scope()),
        author(),
        timestamp(),
    );
    let effect = (seq(), collection::vec(event(), 1..5), outcome());
    (command, effect).prop_map(|(command, (first_seq, events, outcome))| {
        let (command_id, command_type, fingerprint, (target, scope), author, timestamp) = command;
        CommandRecord {
            command_id,
            command_type,
            fingerprint,
            target,
            scope,
            author,
            timestamp,
            first_seq,
            events,
            outcome,
        }
    })
}

/// Generates fewer than `records` records with contiguous `seq` from 1 on. Their events need not fit each other.
pub fn log(records: usize) -> impl Strategy<Value = Vec<Arc<CommandRecord>>> {
    collection::vec(recorded(), 0..records).prop_map(|records| {
        let mut next = Seq(1);
        let place = |record| {
            let record = CommandRecord {
                first_seq: next,
                ..record
            };
            next = record.seq().plus(1);
            Arc::new(record)
        };
        records.into_iter().map(place).collect()
    })
}

/// Generates the header of a session.
pub fn header() -> impl Strategy<Value = SessionHeader> {
    let project =
        (project_id(), name(), option::of(template_id())).prop_map(|(project_id, project_name, template_id)| Project {
            project_id,
            project_name,
            template_id,
        });
    (session_id(), epoch(), timestamp(), option::of(project)).prop_map(|(session_id, epoch, created_at, project)| {
        SessionHeader {
            session_id,
            epoch,
            created_at,
            project,
        }
    })
}
