//! Random plans: lists of choices that become commands only when they are run, on the graph as it is then. So most of
//! them mean something, however the test's generator shortens the plan; and some are refused on purpose.
//!
//! The strategies are boxed: nested by value they would fill a test's stack.

use ecow::EcoString;
use proptest::{collection, option, prelude::*, sample::Index};

use super::values::{document, name, text, value};
use crate::domain::{event::Document, value::Value};

/// A choice, to be made on a session ([`super::bench::Bench::run`]).
#[derive(Debug, Clone)]
pub enum Choice {
    /// A command on the graph.
    Edit(Edit),
    /// Several at once (P5).
    Batch {
        /// In order; each is made on what the ones before it lead to.
        edits: Vec<Edit>,
        /// Whether those that would be refused, and the batch with them, stay in it.
        keep_refused: bool,
    },
    /// Takes the last command back.
    Undo,
    /// Does the undone command again. If nothing is undone, an undo, for the next redo to have something to do.
    Redo {
        /// Whether it is a redo also if nothing is undone.
        insist: bool,
    },
    /// Notes that a project file was written, some events ago.
    Save(Index),
    /// Replaces everything.
    Load {
        /// With what.
        document: Document,
        /// Whether what is beside the graph stays as it is.
        keep_extras: bool,
    },
    /// Sends a command again that was accepted before: a retry (P4).
    Resend(Index),
    /// Sends another command under the id of one that was accepted before (P4).
    Reuse(Index, Edit),
    /// Sends a command that is to be refused if what it touches changed since.
    Expecting(Index, Edit),
}

/// A command on the graph, with everything that it names left open.
#[derive(Debug, Clone)]
pub enum Edit {
    /// `CreateNode`
    Create {
        /// The id.
        id: NewId,
        /// The type.
        node_type: TypePick,
        /// The parent; `None`: a root.
        parent: Option<Pick>,
        /// Where among the siblings.
        place: Place,
        /// The name; some cannot be one.
        name: Option<EcoString>,
        /// Properties and what they become.
        properties: Vec<(PropertyPick, ValuePick)>,
    },
    /// `DeleteNode`
    Delete(Pick),
    /// `LinkNode`
    Link {
        /// Which root.
        child: Pick,
        /// The parent.
        parent: Pick,
        /// Where.
        place: Place,
        /// Whether the child may be one that is linked, and the parent one below it.
        careless: bool,
    },
    /// `UnlinkNode`
    Unlink {
        /// Which child.
        child: Pick,
        /// Another parent than its own.
        stranger: Option<Pick>,
    },
    /// `MoveNode`
    Move {
        /// The node.
        node: Pick,
        /// The new parent; `None`: to the roots.
        parent: Option<Pick>,
        /// Where.
        place: Place,
        /// Whether the parent may be one below the node.
        careless: bool,
    },
    /// `ReorderNode`
    Reorder {
        /// The node.
        node: Pick,
        /// Where.
        place: Place,
    },
    /// `UpdateProperty`
    Update {
        /// The node.
        node: Pick,
        /// The property, or the name.
        property: PropertyPick,
        /// What it becomes.
        value: ValuePick,
    },
    /// `DeleteProperty`
    DeleteProperty {
        /// The node.
        node: Pick,
        /// The property.
        property: PropertyPick,
    },
}

/// A node.
#[derive(Debug, Clone, Copy)]
pub enum Pick {
    /// One that is there, if there is any.
    Known(Index),
    /// One that is not.
    Unknown(u8),
}

/// The id of a node to be created.
#[derive(Debug, Clone, Copy)]
pub enum NewId {
    /// The command makes it.
    Minted,
    /// The client chose it; one of few, so that it comes back after a deletion.
    Chosen(u8),
    /// The id of a node that is there.
    Taken(Index),
}

/// The type of a node to be created, by slug or by uuid.
#[derive(Debug, Clone, Copy)]
pub struct TypePick {
    /// Which.
    pub which: Which,
    /// Whether it goes by uuid.
    pub by_id: bool,
}

/// Which type, or which property.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// One that fits: a type that the parent allows, a property that the type has.
    Fitting(Index),
    /// A type that need not be allowed; a property that is set.
    Known(Index),
    /// One that the template does not have.
    Unknown,
}

/// A property, by slug or by uuid.
#[derive(Debug, Clone, Copy)]
pub struct PropertyPick {
    /// Which.
    pub which: Which,
    /// Whether it goes by uuid.
    pub by_id: bool,
}

/// What a property becomes.
#[derive(Debug, Clone)]
pub enum ValuePick {
    /// Something that it can hold, made from this.
    Fitting(Value, Index),
    /// What it is already, if it is set.
    Same,
    /// Whatever this is.
    Any(Value),
}

/// A place among siblings.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// The end.
    End,
    /// One that there is.
    Within(Index),
    /// One beyond the end.
    Beyond(u8),
    /// One before the beginning.
    Negative(i64),
}

/// A plan of that many choices.
pub fn plan(len: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Choice>> {
    collection::vec(choice(), len)
}

/// A plan of commands on the graph only: no undo, no loading, no retry.
pub fn edits(len: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Edit>> {
    collection::vec(edit(), len)
}

/// Any choice.
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

/// Any command on the graph. More nodes are created than deleted.
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
        8 => (pick(), pick(), place(), careless())
            .prop_map(|(child, parent, place, careless)| Edit::Link { child, parent, place, careless }),
        4 => (pick(), option::weighted(0.1, pick())).prop_map(|(child, stranger)| Edit::Unlink { child, stranger }),
        9 => (pick(), option::weighted(0.75, pick()), place(), careless())
            .prop_map(|(node, parent, place, careless)| Edit::Move { node, parent, place, careless }),
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

fn careless() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.1)
}

fn new_id() -> BoxedStrategy<NewId> {
    prop_oneof![
        8 => Just(NewId::Minted),
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
