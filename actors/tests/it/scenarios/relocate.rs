//! `MoveNode` and `ReorderNode`

use super::{
    case::{check, free, given, record, told},
    commands::{Said, child, node, relocate, reorder, root, to_roots, undo},
};

/// A move emits an unlink and a link. Between both events the node is the last root.
#[test]
fn a_move_is_a_pair_of_events() {
    check([
        given([root("a"), child("b", "a"), root("c")])
            .when(relocate("b", "c"))
            .then(["unlinked b from a[0]", "linked b to c[0], was roots[2]"]),
        given([root("a"), root("b")])
            .when(relocate("b", "a"))
            .then(["unlinked b from roots[1]", "linked b to a[0], was roots[1]"]),
        given([root("a"), root("b")])
            .when(relocate("a", "b"))
            .then(["unlinked a from roots[0]", "linked a to b[0], was roots[1]"]),
        given([root("a"), child("b", "a"), child("c", "b")])
            .when(relocate("c", "a").at(0))
            .then(["unlinked c from b[0]", "linked c to a[0], was roots[1]"]),
        given([root("a"), child("b", "a"), child("c", "b")])
            .when(to_roots("b"))
            .then(["unlinked b from a[0]", "linked b to roots[1], was roots[1]"]),
        given([root("a"), child("b", "a")])
            .when(to_roots("b").at(0))
            .then(["unlinked b from a[0]", "linked b to roots[0], was roots[1]"]),
    ]);
}

/// The index counts the siblings without the node, so it equals the node's index after the move.
#[test]
fn a_place_counts_the_siblings_without_the_node() {
    let three = || [root("a"), child("b", "a"), child("c", "a"), child("d", "a")];
    check([
        given(three())
            .when(reorder("b", 2))
            .then(["unlinked b from a[0]", "linked b to a[2], was roots[1]"]),
        given(three())
            .when(reorder("b", 1))
            .then(["unlinked b from a[0]", "linked b to a[1], was roots[1]"]),
        given(three())
            .when(reorder("d", 0))
            .then(["unlinked d from a[2]", "linked d to a[0], was roots[1]"]),
        given(three())
            .when(relocate("b", "a"))
            .then(["unlinked b from a[0]", "linked b to a[2], was roots[1]"]),
        given(three())
            .when(relocate("c", "a").at(0))
            .then(["unlinked c from a[1]", "linked c to a[0], was roots[1]"]),
        given(three())
            .when(reorder("b", 3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
        given(three())
            .when(relocate("b", "a").at(3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
    ]);
}

/// Roots are ordered like children.
#[test]
fn roots_are_ordered_too() {
    let three = || [root("a"), root("b"), root("c")];
    check([
        given(three())
            .when(reorder("a", 1))
            .then(["unlinked a from roots[0]", "linked a to roots[1], was roots[2]"]),
        given(three())
            .when(reorder("c", 0))
            .then(["unlinked c from roots[2]", "linked c to roots[0], was roots[2]"]),
        given(three())
            .when(to_roots("a"))
            .then(["unlinked a from roots[0]", "linked a to roots[2], was roots[2]"]),
        given(three())
            .when(reorder("a", 3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
        given(three())
            .when(to_roots("a").at(3))
            .refused("INDEX_OUT_OF_RANGE", "index 3 is not between 0 and 2"),
    ]);
}

/// A move to the present place changes nothing.
#[test]
fn going_where_one_is_changes_nothing() {
    let family = || [root("a"), child("b", "a"), child("c", "a"), root("d")];
    check([
        given(family()).when(reorder("b", 0)).nothing(),
        given(family()).when(reorder("c", 1)).nothing(),
        given(family()).when(reorder("a", 0)).nothing(),
        given(family()).when(relocate("c", "a")).nothing(),
        given(family()).when(relocate("b", "a").at(0)).nothing(),
        given(family()).when(to_roots("d")).nothing(),
        given(family()).when(to_roots("a").at(0)).nothing(),
    ]);
}

/// A move below the node itself, to an unknown node or to an invalid index is refused.
#[test]
fn what_cannot_be_moved_is_refused() {
    let line = || [root("a"), child("b", "a"), child("c", "b")];
    check([
        given(line())
            .when(relocate("x", "a"))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(relocate("a", "x"))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(to_roots("x"))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(reorder("x", 0))
            .refused("NODE_NOT_FOUND", "node x does not exist"),
        given(line())
            .when(relocate("a", "a"))
            .refused("CYCLE", "node a cannot go below itself, to a"),
        given(line())
            .when(relocate("a", "c"))
            .refused("CYCLE", "node a cannot go below itself, to c"),
        given(line())
            .when(relocate("b", "c"))
            .refused("CYCLE", "node b cannot go below itself, to c"),
        given(line())
            .when(relocate("c", "a").at(2))
            .refused("INDEX_OUT_OF_RANGE", "index 2 is not between 0 and 1"),
        given(line())
            .when(reorder("a", -1))
            .refused("INDEX_OUT_OF_RANGE", "index -1 is not between 0 and 0"),
        given(line())
            .when(to_roots("c").at(2))
            .refused("INDEX_OUT_OF_RANGE", "index 2 is not between 0 and 1"),
    ]);
}

/// Undo of a move is a move back to the former index, without an intermediate index among the roots.
#[test]
fn undo_of_a_move_is_a_move_back() {
    let mut bench = free(&[root("a"), child("b", "a"), child("c", "a"), root("d"), child("e", "d")]);
    record(&mut bench, &relocate("b", "d").at(0));
    assert_eq!(
        told(&record(&mut bench, &undo()).events),
        ["unlinked b from d[0]", "linked b to a[0], was roots[2]"]
    );
    record(&mut bench, &relocate("a", "e"));
    assert_eq!(
        told(&record(&mut bench, &undo()).events),
        ["unlinked a from e[0]", "linked a to roots[0], was roots[1]"]
    );
    let order: Vec<_> = bench
        .session()
        .document()
        .graph
        .walk(None)
        .nodes()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(order, ["a", "b", "c", "d", "e"].map(node));
}

/// The receipt names the moved node.
#[test]
fn the_answer_names_the_node() {
    let mut bench = free(&[root("a"), root("b")]);
    assert_eq!(record(&mut bench, &relocate("b", "a")).outcome.node_ids, [node("b")]);
    assert_eq!(record(&mut bench, &to_roots("b").at(0)).outcome.node_ids, [node("b")]);
    assert_eq!(record(&mut bench, &reorder("a", 0)).outcome.node_ids, [node("a")]);
}
