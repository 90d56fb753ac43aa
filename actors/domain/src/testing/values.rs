//! Strategies for node contents.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use ecow::EcoString;
use proptest::{collection, option, prelude::*, sample::Index, string::string_regex};
use uuid::Uuid;

use crate::{
    content::NodeContent,
    document::{Document, Extras},
    graph::Graph,
    ids::{NodeId, PropertyId, TypeId},
    properties::Properties,
    siblings::Siblings,
    value::{Number, Value},
};

/// Generates texts that match a pattern.
fn matching(pattern: &str) -> impl Strategy<Value = EcoString> + use<> {
    string_regex(pattern).expect("a pattern").prop_map(EcoString::from)
}

/// Generates a short text: possibly empty, of several scripts, with line breaks and characters that JSON escapes.
pub fn text() -> BoxedStrategy<EcoString> {
    matching("[a-zA-Z0-9 äß日😀\\\\\"/\n\t\u{1}]{0,10}").boxed()
}

/// Generates a valid node name.
pub fn name() -> BoxedStrategy<EcoString> {
    matching("[A-Za-z0-9 äß日]{0,8}[A-Za-zäß日]").boxed()
}

/// Generates a number in a spelling of JSON. Most are small integers, and some exceed every machine type.
pub fn number() -> BoxedStrategy<Number> {
    let written = matching("-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?");
    let exact = written.prop_map(|text| {
        let number: serde_json::Number = text.parse().expect("the pattern is one of numbers");
        Number::from(&number)
    });
    prop_oneof![
        4 => (-100_i64..100).prop_map(Number::Int),
        1 => any::<i64>().prop_map(Number::Int),
        3 => exact,
    ]
    .boxed()
}

/// Generates a value that is neither list nor object.
pub fn scalar() -> BoxedStrategy<Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => number().prop_map(Value::Number),
        3 => text().prop_map(Value::Text),
    ]
    .boxed()
}

/// Generates any value, including lists and objects. Some keys are reserved by JSON libraries.
pub fn value() -> BoxedStrategy<Value> {
    let object = |members: BTreeMap<EcoString, Value>| Value::Object(Arc::new(members));
    scalar()
        .prop_recursive(3, 12, 4, move |part| {
            let reserved = (reserved_key(), part.clone(), part.clone())
                .prop_map(move |(key, one, other)| object(BTreeMap::from([(key, one), ("a".into(), other)])));
            prop_oneof![
                4 => collection::vec(part.clone(), 0..4).prop_map(|items| Value::List(items.into())),
                4 => collection::btree_map(text(), part, 0..4).prop_map(object),
                1 => reserved,
            ]
        })
        .boxed()
}

fn reserved_key() -> impl Strategy<Value = EcoString> {
    const KEYS: &[&str] = &[
        "$serde_json::private::Number",
        "$serde_json::private::RawValue",
        "__proto__",
        "name",
        "",
    ];
    proptest::sample::select(KEYS).prop_map(EcoString::from)
}

/// Generates the name of a type for a session without a template.
pub fn free_type() -> impl Strategy<Value = TypeId> + Clone {
    proptest::sample::select(&["alpha", "beta", "Gamma delta"][..]).prop_map(TypeId::new)
}

/// Generates the name of a property for a session without a template.
pub fn free_property() -> impl Strategy<Value = PropertyId> + Clone {
    proptest::sample::select(&["color", "size", "due date", "größe", "notes"][..]).prop_map(PropertyId::new)
}

/// Generates up to two properties.
pub fn properties() -> impl Strategy<Value = Properties> {
    collection::btree_map(free_property(), scalar(), 0..3).prop_map(Properties::from_iter)
}

/// Generates the content of a node for a session without a template.
pub fn content() -> BoxedStrategy<NodeContent> {
    let metadata = option::weighted(0.1, value());
    (name(), free_type(), properties(), metadata)
        .prop_map(|(name, type_id, properties, metadata)| NodeContent {
            name,
            type_id,
            properties,
            metadata: metadata.map(Box::new),
        })
        .boxed()
}

/// Generates a forest with a number of nodes in the range and at most `depth` levels.
pub fn graph(nodes: Range<usize>, depth: usize) -> impl Strategy<Value = Graph> {
    let node = (
        any::<u16>(),
        option::weighted(0.7, any::<Index>()),
        any::<Index>(),
        content(),
    );
    collection::vec(node, nodes).prop_map(move |nodes| {
        let mut graph = Graph::default();
        for (number, parent, place, content) in nodes {
            // Ids are unique, and their order differs from the order of the nodes.
            let id = NodeId::new(Uuid::from_u128((u128::from(number) << 64) | graph.len() as u128));
            let parents: Vec<_> = graph
                .nodes()
                .map(|(id, _)| id)
                .filter(|&id| graph.depth(id) < depth)
                .collect();
            let parent = parent
                .filter(|_| !parents.is_empty())
                .map(|pick| parents[pick.index(parents.len())]);
            let len = graph.children(parent).map_or(0, Siblings::len);
            graph
                .insert(id, content, parent, place.index(len + 1))
                .expect("there is room");
        }
        graph
    })
}

/// Generates the extras of a project file.
pub fn extras() -> impl Strategy<Value = Extras> {
    collection::btree_map(text(), value(), 0..3).prop_map(Arc::new)
}

/// Generates a document of up to seven nodes.
pub fn document() -> BoxedStrategy<Document> {
    (graph(0..8, 4), extras())
        .prop_map(|(graph, extras)| Document {
            graph,
            extras,
            template_id: None,
        })
        .boxed()
}
