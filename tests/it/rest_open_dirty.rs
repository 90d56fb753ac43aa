//! Dirty state of a project that was just opened.

use serde_json::json;

use crate::support::TestHub;

/// A project is clean right after it was opened, and dirty from the first command on.
#[tokio::test]
async fn opened_project_is_clean_until_the_first_command() {
    let hub = TestHub::start().await;
    let graph = json!({"graph": {"roots": [{"id": "root", "type": "t", "name": "Root"}]}});
    std::fs::write(hub.dir.path().join("projects/book.json"), graph.to_string()).expect("written");
    let opened = hub.post("/projects/book/open", &json!({})).await.ok();
    let session = opened["session_id"].as_str().expect("an id");
    let dirty = async || hub.get(&format!("/sessions/{session}/dirty")).await.ok()["is_dirty"].clone();
    assert_eq!(dirty().await, false);
    assert_eq!(
        hub.get(&format!("/sessions/{session}/info")).await.ok()["is_dirty"],
        false
    );
    hub.create_node(session, None, "new").await;
    assert_eq!(dirty().await, true);
}
