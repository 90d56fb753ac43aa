//! `LinkNode` and `UnlinkNode`

use super::{
    case::{check, event_lines, free_session, given, record},
    commands::{CommandExt, child, link, node, redo, root, undo, unlink},
};

/// A linked root is appended to the children, or inserted at the given index. The event contains its former index among
/// the roots, for undo.
#[test]
fn link_moves_root_under_parent() {
    check([
        given([root("a"), root("b")])
            .when(link("b", "a"))
            .then(["linked b to a[0], was roots[1]"]),
        given([root("b"), root("a"), child("c", "a"), child("d", "a")])
            .when(link("b", "a"))
            .then(["linked b to a[2], was roots[0]"]),
        given([root("b"), root("a"), child("c", "a"), child("d", "a")])
            .when(link("b", "a").at(1))
            .then(["linked b to a[1], was roots[0]"]),
        given([root("a"), root("b"), child("c", "b"), root("d")])
            .when(link("b", "d"))
            .then(["linked b to d[0], was roots[1]"]),
    ]);
}

/// A node has at most one parent and cannot be linked below itself. Unknown nodes and invalid indices are refused.
#[test]
fn link_refuses_invalid_references() {
    check([
        given([root("a")])
            .when(link("b", "a"))
            .refused("NODE_NOT_FOUND", "node b does not exist"),
        given([root("a")])
            .when(link("a", "b"))
            .refused("NODE_NOT_FOUND", "node b does not exist"),
        given([root("a"), child("b", "a")])
            .when(link("b", "a"))
            .refused("ALREADY_LINKED", "node b is already linked, to a"),
        given([root("a"), child("b", "a"), root("c")])
            .when(link("b", "c"))
            .refused("ALREADY_LINKED", "node b is already linked, to a"),
        given([root("a")])
            .when(link("a", "a"))
            .refused("CYCLE", "node a cannot go below itself, to a"),
        given([root("a"), child("b", "a"), child("c", "b")])
            .when(link("a", "c"))
            .refused("CYCLE", "node a cannot go below itself, to c"),
        given([root("a"), root("b")])
            .when(link("b", "a").at(1))
            .refused("INDEX_OUT_OF_RANGE", "index 1 is not between 0 and 0"),
        given([root("a"), root("b")])
            .when(link("b", "a").at(-1))
            .refused("INDEX_OUT_OF_RANGE", "index -1 is not between 0 and 0"),
    ]);
}

/// An unlinked child becomes the last root.
#[test]
fn unlink_appends_child_to_roots() {
    check([given([root("a"), child("b", "a"), child("c", "a"), root("d")])
        .when(unlink("b", "a"))
        .then(["unlinked b from a[0]"])]);
    let mut harness = free_session(&[root("a"), child("b", "a"), child("c", "b"), root("d")]);
    record(&mut harness, &unlink("b", "a"));
    let graph = &harness.session().document().graph;
    assert_eq!(
        graph.roots().iter().collect::<Vec<_>>(),
        [node("a"), node("d"), node("b")]
    );
    assert_eq!(graph.height(node("b")), 2, "an unlinked node keeps its descendants");
}

/// Only a child can be unlinked, and only from its parent.
#[test]
fn unlink_refuses_unlinked_nodes() {
    check([
        given([root("a")])
            .when(unlink("b", "a"))
            .refused("NODE_NOT_FOUND", "node b does not exist"),
        given([root("a")])
            .when(unlink("a", "b"))
            .refused("NODE_NOT_FOUND", "node b does not exist"),
        given([root("a"), root("b")])
            .when(unlink("b", "a"))
            .refused("NOT_LINKED", "node b is not linked to a"),
        given([root("a"), child("b", "a"), root("c")])
            .when(unlink("b", "c"))
            .refused("NOT_LINKED", "node b is not linked to c"),
        given([root("a"), child("b", "a"), child("c", "b")])
            .when(unlink("c", "a"))
            .refused("NOT_LINKED", "node c is not linked to a"),
    ]);
}

/// Undo of a link moves the root back to its former index, in two events. Undo of an unlink moves the child back to its
/// former index.
#[test]
fn link_undo_restores_index() {
    let mut harness = free_session(&[root("a"), root("b"), root("c"), child("d", "c")]);
    record(&mut harness, &link("a", "c").at(0));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        ["unlinked a from c[0]", "linked a to roots[0], was roots[2]"]
    );
    assert_eq!(
        event_lines(&record(&mut harness, &redo()).events),
        ["linked a to c[0], was roots[0]"]
    );
    record(&mut harness, &unlink("a", "c"));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        ["linked a to c[0], was roots[2]"]
    );
}
