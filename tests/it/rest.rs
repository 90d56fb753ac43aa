//! REST API along one project, from its creation to its deletion.

use serde_json::json;

use crate::support::TestHub;

/// The documented calls work in sequence: create, read, undo, delete, metrics.
#[tokio::test]
async fn node_is_created_read_undone_and_deleted() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let root = hub.create_node(&session, None, "Root").await;
    hub.create_node(&session, Some(&root), "Child").await;
    let graph = hub.graph(&session).await;
    assert_eq!(graph["roots"][0]["children"][0]["name"], "Child");

    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    assert_eq!(hub.graph(&session).await["roots"][0]["children"], json!([]));

    let missing = hub.get("/sessions/00000000-0000-4000-8000-000000000000/info").await;
    assert_eq!(missing.refused(), (404, "INVALID_SESSION"));
    assert_eq!(hub.delete(&format!("/sessions/{session}")).await.status, 204);

    let metrics = hub.http().get(format!("{}/metrics", hub.url)).send().await;
    assert_eq!(metrics.expect("served").status().as_u16(), 200);
    let (dir, stopped) = hub.stop().await;
    stopped.expect("stops in time");
    assert!(dir.path().join("projects").is_dir());
}
