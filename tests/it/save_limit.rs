//! Limit on the size of saved project files.

use serde_json::{Value, json};

use crate::support::TestHub;

/// P9: a save beyond `projects.file_bytes_max` is refused with the limit, because the file could not be opened again.
/// The old file stays, and the session stays dirty.
#[tokio::test]
async fn oversized_save_is_refused_and_keeps_the_old_file() {
    let hub = TestHub::with(|config| config.projects.file_bytes_max = 1_000).await;
    let session = hub.session().await;
    let save = format!("/sessions/{session}/save");
    hub.create_node(&session, None, "small").await;
    hub.post(&save, &json!({})).await.ok();

    hub.create_node(&session, None, &"large".repeat(100)).await;
    hub.create_node(&session, None, &"large".repeat(100)).await;
    let refused = hub.post(&save, &json!({})).await;
    assert_eq!(refused.refused(), (400, "LIMIT_EXCEEDED"));
    let error = &refused.body["error"];
    assert_eq!(
        (&error["limit"], &error["max"]),
        (&json!("file_bytes_max"), &json!(1_000))
    );

    let dirty = hub.get(&format!("/sessions/{session}/dirty")).await.ok();
    assert_eq!(dirty["is_dirty"], json!(true));
    let file = hub.dir.path().join(format!("projects/{session}.json"));
    let file: Value = serde_json::from_slice(&std::fs::read(file).expect("the old file")).expect("whole");
    assert_eq!(file["graph"]["nodes"].as_array().map(Vec::len), Some(1));
}
