//! Random plans: lists of choices that are resolved to commands on the present graph when they run.
//!
//! Most commands are therefore valid, also after the generator shrinks a plan, and some are invalid on purpose. The
//! strategies are boxed, because nested by value they would overflow a test's stack.

use ecow::EcoString;
use proptest::{collection, option, prelude::*, sample::Index};

use super::values::{document, name, text, value};
use crate::{document::Document, value::Value};

/// Choice that is resolved on a session, as by [`super::harness::Harness::run`].
#[derive(Debug, Clone)]
pub enum Choice {
    /// Command on the graph.
    Edit(Edit),
    /// Batch of commands (P5).
    Batch {
        /// Edits in order, each resolved on the result of the preceding ones.
        edits: Vec<Edit>,
        /// Keeps refused edits in the batch, so that the whole batch is refused.
        keep_refused: bool,
    },
    /// Undo of the session.
    Undo,
    /// Redo of the session. Becomes an undo if no step can be redone, so that the next redo finds a step.
    Redo {
        /// Stays a redo even if no step can be redone.
        insist: bool,
    },
    /// Save of the project at a past `seq`.
    Save(Index),
    /// Replacement of the whole document.
    Load {
        /// New document.
        document: Document,
        /// Keeps the extras of the session.
        keep_extras: bool,
    },
    /// Retry of an accepted command (P4).
    Resend(Index),
    /// Another command under the id of an accepted command (P4).
    Reuse(Index, Edit),
    /// Command with an `expected_seq`, refused if its part of the document changed since.
    Expecting(Index, Edit),
}

/// Command on the graph whose references are open until it is resolved.
#[derive(Debug, Clone)]
pub enum Edit {
    /// `CreateNode`
    Create {
        /// Id of the new node.
        id: NewId,
        /// Type of the new node.
        node_type: TypePick,
        /// Parent of the new node. `None` creates a root.
        parent: Option<Pick>,
        /// Place among the siblings.
        place: Place,
        /// Name of the new node. Some names are invalid.
        name: Option<EcoString>,
        /// Initial properties.
        properties: Vec<(PropertyPick, ValuePick)>,
    },
    /// `DeleteNode`
    Delete(Pick),
    /// `LinkNode`
    Link {
        /// Root to link.
        child: Pick,
        /// Parent of the root.
        parent: Pick,
        /// Place among the siblings.
        place: Place,
        /// Allows a child that is already linked, and a parent below the child.
        allow_invalid: bool,
    },
    /// `UnlinkNode`
    Unlink {
        /// Child to unlink.
        child: Pick,
        /// Wrong parent. `None` names the child's own parent.
        wrong_parent: Option<Pick>,
    },
    /// `MoveNode`
    Move {
        /// Node to move.
        node: Pick,
        /// New parent. `None` moves the node to the roots.
        parent: Option<Pick>,
        /// Place among the siblings.
        place: Place,
        /// Allows a parent below the node.
        allow_invalid: bool,
    },
    /// `ReorderNode`
    Reorder {
        /// Node to move.
        node: Pick,
        /// Place among the siblings.
        place: Place,
    },
    /// `UpdateProperty`
    Update {
        /// Node that has the property.
        node: Pick,
        /// Property, or the name.
        property: PropertyPick,
        /// New value.
        value: ValuePick,
    },
    /// `DeleteProperty`
    DeleteProperty {
        /// Node that has the property.
        node: Pick,
        /// Property to delete.
        property: PropertyPick,
    },
}

/// Reference to a node.
#[derive(Debug, Clone, Copy)]
pub enum Pick {
    /// Existing node, if there is any.
    Known(Index),
    /// Id without a node.
    Unknown(u8),
}

/// Id of a new node.
#[derive(Debug, Clone, Copy)]
pub enum NewId {
    /// Id derived from the command's id.
    Derived,
    /// Id chosen by the client, from a small set, so that deleted ids occur again.
    Chosen(u8),
    /// Id of an existing node.
    Taken(Index),
}

/// Reference to a type, by slug or by uuid.
#[derive(Debug, Clone, Copy)]
pub struct TypePick {
    /// Selected type.
    pub which: Which,
    /// References the type by uuid instead of slug.
    pub by_id: bool,
}

/// Selection of a type or a property.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// Valid choice: a type that the parent allows, or a property that the type has.
    Fitting(Index),
    /// Existing choice: any type of the template, or a property that is set.
    Known(Index),
    /// Name that the template does not contain.
    Unknown,
}

/// Reference to a property, by slug or by uuid.
#[derive(Debug, Clone, Copy)]
pub struct PropertyPick {
    /// Selected property.
    pub which: Which,
    /// References the property by uuid instead of slug.
    pub by_id: bool,
}

/// New value of a property.
#[derive(Debug, Clone)]
pub enum ValuePick {
    /// Value that the property accepts, derived from the given value.
    Fitting(Value, Index),
    /// Present value of the property, or null.
    Same,
    /// Given value, valid or not.
    Any(Value),
}

/// Place among siblings.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// End of the list.
    End,
    /// Valid index.
    Within(Index),
    /// Index beyond the end.
    Beyond(u8),
    /// Negative index.
    Negative(i64),
}

/// Generates a plan of `len` choices.
pub fn plan(len: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Choice>> {
    collection::vec(choice(), len)
}

/// Generates `len` commands on the graph only: no undo, load or retry.
pub fn edits(len: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Edit>> {
    collection::vec(edit(), len)
}

/// Generates a choice of any variant.
pub fn choice() -> BoxedStrategy<Choice> {
    prop_oneof![
        28 => edit().prop_map(Choice::Edit),
        4 => (edits(0..6), proptest::bool::weighted(0.2))
            .prop_map(|(edits, keep_refused)| Choice::Batch { edits, keep_refused }),
        3 => Just(Choice::Undo),
        4 => proptest::bool::weighted(0.1).prop_map(|insist| Choice::Redo { insist }),
        1 => any::<Index>().prop_map(Choice::Save),
        1 => (document(), any::<bool>()).prop_map(|(document, keep_extras)| Choice::Load { document, keep_extras }),
        1 => any::<Index>().prop_map(Choice::Resend),
        1 => (any::<Index>(), edit()).prop_map(|(at, edit)| Choice::Reuse(at, edit)),
        2 => (any::<Index>(), edit()).prop_map(|(at, edit)| Choice::Expecting(at, edit)),
    ]
    .boxed()
}

/// Generates a command on the graph. Creations are more frequent than deletions.
pub fn edit() -> BoxedStrategy<Edit> {
    let create = (
        new_id(),
        type_pick(),
        option::weighted(0.75, pick()),
        place(),
        any_name(),
        properties(),
    );
    prop_oneof![
        18 => create.prop_map(|(id, node_type, parent, place, name, properties)| {
            Edit::Create { id, node_type, parent, place, name, properties }
        }),
        3 => pick().prop_map(Edit::Delete),
        8 => (pick(), pick(), place(), allow_invalid())
            .prop_map(|(child, parent, place, allow_invalid)| Edit::Link { child, parent, place, allow_invalid }),
        4 => (pick(), option::weighted(0.1, pick())).prop_map(|(child, wrong_parent)| Edit::Unlink { child, wrong_parent }),
        9 => (pick(), option::weighted(0.75, pick()), place(), allow_invalid())
            .prop_map(|(node, parent, place, allow_invalid)| Edit::Move { node, parent, place, allow_invalid }),
        6 => (pick(), place()).prop_map(|(node, place)| Edit::Reorder { node, place }),
        12 => (pick(), property_pick(), value_pick())
            .prop_map(|(node, property, value)| Edit::Update { node, property, value }),
        4 => (pick(), property_pick()).prop_map(|(node, property)| Edit::DeleteProperty { node, property }),
    ]
    .boxed()
}

fn pick() -> BoxedStrategy<Pick> {
    prop_oneof![40 => any::<Index>().prop_map(Pick::Known), 1 => any::<u8>().prop_map(Pick::Unknown)].boxed()
}

fn allow_invalid() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.1)
}

fn new_id() -> BoxedStrategy<NewId> {
    prop_oneof![
        8 => Just(NewId::Derived),
        8 => any::<u8>().prop_map(NewId::Chosen),
        1 => any::<Index>().prop_map(NewId::Taken),
    ]
    .boxed()
}

fn which(known: u32) -> impl Strategy<Value = Which> {
    prop_oneof![
        12 => any::<Index>().prop_map(Which::Fitting),
        known => any::<Index>().prop_map(Which::Known),
        1 => Just(Which::Unknown),
    ]
}

fn type_pick() -> BoxedStrategy<TypePick> {
    (which(1), any::<bool>())
        .prop_map(|(which, by_id)| TypePick { which, by_id })
        .boxed()
}

fn property_pick() -> BoxedStrategy<PropertyPick> {
    (which(6), any::<bool>())
        .prop_map(|(which, by_id)| PropertyPick { which, by_id })
        .boxed()
}

fn value_pick() -> BoxedStrategy<ValuePick> {
    prop_oneof![
        12 => (value(), any::<Index>()).prop_map(|(value, at)| ValuePick::Fitting(value, at)),
        2 => Just(ValuePick::Same),
        2 => value().prop_map(ValuePick::Any),
    ]
    .boxed()
}

fn place() -> BoxedStrategy<Place> {
    prop_oneof![
        8 => Just(Place::End),
        12 => any::<Index>().prop_map(Place::Within),
        1 => any::<u8>().prop_map(Place::Beyond),
        1 => (i64::MIN..0).prop_map(Place::Negative),
    ]
    .boxed()
}

fn any_name() -> impl Strategy<Value = Option<EcoString>> {
    option::of(
        prop_oneof![12 => name().boxed(), 1 => text().boxed(), 1 => Just("much too long to be told".into()).boxed()],
    )
}

fn properties() -> impl Strategy<Value = Vec<(PropertyPick, ValuePick)>> {
    prop_oneof![3 => Just(Vec::new()).boxed(), 2 => collection::vec((property_pick(), value_pick()), 1..3).boxed()]
}
