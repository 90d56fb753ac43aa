//! Test vectors from an implementation in another language. `docs/PROTOCOL.md` contains more vectors, against which
//! integration tests check the hub and the listing in the document.

use uuid::Uuid;

use super::*;
use crate::{graph::Graph, ids::TypeId, properties::Properties};

fn id(number: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(number))
}

fn content(name: &str, properties: &str) -> NodeContent {
    let properties: Properties = serde_json::from_str(properties).expect(properties);
    NodeContent {
        name: name.into(),
        type_id: TypeId::new("task"),
        properties,
        metadata: None,
    }
}

fn roots(nodes: &[(u128, &str)]) -> Graph {
    let mut graph = Graph::default();
    for &(number, name) in nodes {
        let end = graph.roots().len();
        graph.insert(id(number), content(name, "{}"), None, end).expect("fits");
    }
    graph
}

#[test]
fn record_hashes_match_specification() {
    let node = content("Root", "{}");
    let value = serde_json::from_str("1.50").expect("a number");
    for (hash, expected) in [
        (StateHash::of_node(id(1), &node), "11f0c41f30b52961"),
        (StateHash::of_place(id(1), None, None), "04ba382adb2ae975"),
        (StateHash::of_place(id(2), Some(id(1)), Some(id(3))), "43e2aa9cd449838a"),
        (
            StateHash::of_property(id(1), &PropertyId::new("cost"), &value),
            "f3479736d0acad08",
        ),
    ] {
        assert_eq!(hash.to_string(), expected);
    }
}

#[test]
fn graph_hashes_match_specification() {
    let hash = |graph: &Graph| graph.state_hash().to_string();
    assert_eq!(hash(&roots(&[])), "0000000000000000");
    assert_eq!(hash(&roots(&[(1, "Root")])), "16aafc4a0be012d6");
    assert_eq!(hash(&roots(&[(1, "Root"), (2, "Other")])), "5dd86914c9c212d0");
    assert_eq!(hash(&roots(&[(2, "Other"), (1, "Root")])), "8c2e4952c5337aa1");
}

/// Spellings that clients read as the same number have the same hash.
#[test]
fn number_spellings_hash_as_doubles() {
    let numbers = r#"{"numbers": [1,1.0,1e21,0.1,-0,1e400,1.50,9007199254740993,123456789012345678901234567890,1e-7]}"#;
    let rounded = r#"{"numbers": [1,1,1e+21,0.1,0,null,1.5,9007199254740992,1.2345678901234568e29,0.0000001]}"#;
    for properties in [numbers, rounded] {
        let mut graph = Graph::default();
        graph.insert(id(1), content("Root", properties), None, 0).expect("fits");
        assert_eq!(graph.state_hash().to_string(), "87f10ac3bb5b9683");
    }
}

/// Metadata is not sent to clients, so it is not part of the hash.
#[test]
fn metadata_is_not_hashed() {
    let mut graph = Graph::default();
    let marked = NodeContent {
        metadata: Some(Box::new(Value::Bool(true))),
        ..content("Root", "{}")
    };
    graph.insert(id(1), marked, None, 0).expect("fits");
    assert_eq!(graph.state_hash(), roots(&[(1, "Root")]).state_hash());
}

/// A change and its inverse leave the hash unchanged.
#[test]
fn hash_is_restored_by_inverse_changes() {
    let mut graph = roots(&[(1, "Root"), (2, "Other"), (3, "Third")]);
    let before = graph.state_hash();
    let color = PropertyId::new("color");
    graph
        .set_property(id(2), &color, Some(Value::text("red")))
        .expect("fits");
    graph.set_property(id(2), &color, Some(Value::Null)).expect("fits");
    assert_ne!(graph.state_hash(), before, "null is a value");
    graph.set_property(id(2), &color, None).expect("fits");
    graph.rename(id(2), "Else".into()).expect("fits");
    graph.rename(id(2), "Other".into()).expect("fits");
    graph.link(Some(id(1)), id(2), 0).expect("fits");
    graph.unlink(Some(id(1)), id(2)).expect("fits");
    assert_ne!(graph.state_hash(), before, "it is the last of the roots now");
    graph.link(None, id(2), 1).expect("fits");
    assert_eq!(graph.state_hash(), before);
    for number in 1..=3 {
        graph.remove(id(number)).expect("fits");
    }
    assert_eq!(graph.state_hash(), StateHash::default());
}

#[test]
fn hash_has_one_spelling() {
    let hash = StateHash::new(0x00ab_cdef);
    assert_eq!(hash.to_string(), "0000000000abcdef");
    assert_eq!("0000000000abcdef".parse(), Ok(hash));
    for text in [
        "",
        "abcdef",
        "0000000000ABCDEF",
        "+000000000abcdef",
        "00000000000abcdef",
    ] {
        assert_eq!(text.parse::<StateHash>(), Err(ParseStateHashError), "{text}");
    }
}
