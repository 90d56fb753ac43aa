//! Concurrent requests over REST: each outcome equals that of some sequential order.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    calls::{Raw, until},
    support::{Reply, TestHub},
};

/// Separates the bodies of successes from the codes of refusals.
fn successes_and_codes(replies: Vec<Reply>) -> (Vec<Value>, BTreeSet<String>) {
    let (good, bad): (Vec<Reply>, Vec<Reply>) = replies.into_iter().partition(|reply| reply.status < 300);
    let codes = bad.iter().map(|reply| reply.refused().1.to_owned()).collect();
    (good.into_iter().map(|reply| reply.body).collect(), codes)
}

fn codes<const N: usize>(codes: [&str; N]) -> BTreeSet<String> {
    codes.into_iter().map(str::to_owned).collect()
}

/// P1: concurrent commands get dense `seq` values, and every command is in the graph.
#[tokio::test]
async fn concurrent_commands_get_dense_seqs() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let root = hub.create_node(&session, None, "root").await;
    let create = async |number: usize| {
        let data = json!({"blueprint_type_id": "t", "parent_id": root, "name": number.to_string(), "index": 0});
        hub.execute(&session, "CreateNode", data).await.ok()
    };
    let answers = join_all((0..100).map(create)).await;
    let mut seqs: Vec<u64> = answers
        .iter()
        .map(|answer| answer["seq"].as_u64().expect("a seq"))
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (2..=101).map(|number| 2 * number).collect::<Vec<u64>>());
    assert!(
        answers
            .iter()
            .all(|answer| answer["first_seq"].as_u64().map(|first| first + 1) == answer["seq"].as_u64())
    );
    let names: BTreeSet<String> = hub.outline(&session).await.into_iter().collect();
    assert_eq!(names.len(), 101);
}

/// P5: of concurrent commands that exclude each other, one succeeds.
#[tokio::test]
async fn concurrent_exclusive_commands_succeed_once() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = hub.create_node(&session, None, "node").await;
    let parents = join_all((0..10).map(async |_| hub.create_node(&session, None, "parent").await)).await;
    let link = async |parent: &String| {
        hub.execute(&session, "LinkNode", json!({"parent_id": parent, "child_id": node}))
            .await
    };
    let (won, lost) = successes_and_codes(join_all(parents.iter().map(link)).await);
    assert_eq!((won.len(), lost), (1, codes(["ALREADY_LINKED"])));
    let delete = async |_| hub.execute(&session, "DeleteNode", json!({"node_id": node})).await;
    let (won, lost) = successes_and_codes(join_all((0..10).map(delete)).await);
    assert_eq!((won.len(), lost), (1, codes(["NODE_NOT_FOUND"])));
    let undo = async |_| hub.post(&format!("/sessions/{session}/undo"), &json!({})).await;
    let (won, lost) = successes_and_codes(join_all((0..20).map(undo)).await);
    assert_eq!(
        (won.len(), lost),
        (13, codes(["NOTHING_TO_UNDO"])),
        "one undo for each command"
    );
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));
}

/// P3, P5: a command that races with the deletion of its session is applied before the deletion or refused with
/// `INVALID_SESSION`. No request hangs, and one of several deletions succeeds.
#[tokio::test]
async fn commands_race_with_the_deletion_of_their_session() {
    let hub = TestHub::start().await;
    for _ in 0..20 {
        let session = hub.session().await;
        let create = async |_| {
            hub.execute(&session, "CreateNode", json!({"blueprint_type_id": "t"}))
                .await
        };
        let read = async |_| hub.get(&format!("/sessions/{session}/graph")).await;
        let save = async |_| hub.post(&format!("/sessions/{session}/save"), &json!({})).await;
        let delete = async |_| hub.delete(&format!("/sessions/{session}")).await;
        let (created, graphs, saves, deletions, more) = tokio::join!(
            join_all((0..8).map(create)),
            join_all((0..4).map(read)),
            join_all((0..2).map(save)),
            join_all((0..3).map(delete)),
            join_all((0..8).map(create)),
        );
        let allowed = codes(["INVALID_SESSION"]);
        for replies in [created, graphs, saves, more] {
            let (_, refused) = successes_and_codes(replies);
            assert!(refused.is_subset(&allowed), "{refused:?}");
        }
        let (deleted, refused) = successes_and_codes(deletions);
        assert_eq!((deleted.len(), refused), (1, codes(["INVALID_SESSION"])));
        assert_eq!(
            hub.get(&format!("/sessions/{session}/graph")).await.refused(),
            (404, "INVALID_SESSION")
        );
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
    assert_eq!(hub.metric("hub_sessions").await, "0", "no actor remains");
}

/// Of concurrent creations of a project, one succeeds, and no other session remains.
#[tokio::test]
async fn concurrent_creations_make_one_project() {
    let hub = TestHub::start().await;
    for _ in 0..10 {
        let make = async |_| {
            let body = json!({"template_id": "novel", "project_name": "Book", "project_id": "book"});
            hub.post("/projects", &body).await
        };
        let (made, refused) = successes_and_codes(join_all((0..8).map(make)).await);
        assert_eq!((made.len(), refused), (1, codes(["PROJECT_EXISTS"])));
        let list = hub.get("/sessions").await.ok();
        assert_eq!(
            (&list["total"], &list["sessions"][0]["session_id"]),
            (&json!(1), &made[0]["session_id"])
        );
        assert_eq!(hub.delete("/projects/book").await.status, 204);
    }
}

/// P5: concurrent creations under one name each get a project, with consecutive numbers.
#[tokio::test]
async fn concurrent_creations_of_one_name_are_numbered() {
    let hub = TestHub::start().await;
    let make = async |_| {
        let made = hub
            .post("/projects", &json!({"template_id": "novel", "project_name": "Book"}))
            .await;
        made.ok()["project_id"].as_str().expect("an id").to_owned()
    };
    let made: BTreeSet<String> = join_all((0..8).map(make)).await.into_iter().collect();
    let expected: BTreeSet<String> = (2..=8)
        .map(|number| format!("book-{number}"))
        .chain(["book".to_owned()])
        .collect();
    assert_eq!(made, expected);
}

/// Concurrent opens of a project get the same session with its graph.
#[tokio::test]
async fn concurrent_opens_share_one_session() {
    let hub = TestHub::start().await;
    let file = json!({"graph": {"roots": [{"id": "root", "type": "t", "name": "Root"}]}}).to_string();
    std::fs::write(hub.dir.path().join("projects/book.json"), file).expect("written");
    for _ in 0..10 {
        let open = async |_| hub.post("/projects/book/open", &json!({})).await.ok();
        let opened = join_all((0..8).map(open)).await;
        let sessions: BTreeSet<String> = opened.iter().map(|answer| answer["session_id"].to_string()).collect();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        let first = opened
            .iter()
            .filter(|answer| answer.get("already_open").is_none())
            .count();
        assert_eq!(first, 1);
        for answer in &opened {
            assert_eq!(
                answer["graph"]["roots"][0]["name"], "Root",
                "the graph is loaded before the session is visible"
            );
        }
        let session = opened[0]["session_id"].as_str().expect("an id");
        assert_eq!(hub.delete(&format!("/sessions/{session}")).await.status, 204);
    }
}

/// A client that disconnects during the creation of a project leaves a complete project or none.
#[tokio::test]
async fn project_is_complete_after_its_creator_disconnects() {
    let hub = TestHub::start().await;
    let body =
        |number: usize| json!({"template_id": "novel", "project_name": "Book", "project_id": format!("b{number}")});
    for number in 0..30 {
        let text = body(number).to_string();
        let head =
            "POST /api/v1/projects HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length";
        let mut creator = Raw::to(&hub.url).await;
        creator.send(format!("{head}: {}\r\n\r\n{text}", text.len())).await;
        drop(creator);
        let made = hub.post("/projects", &body(number)).await;
        assert!(
            made.status == 201 || made.refused() == (409, "PROJECT_EXISTS"),
            "{made:?}"
        );
        // The id is reserved before the log exists, and the project is listed only afterwards.
        until("the project is listed", async || {
            hub.get("/projects").await.ok()["total"] == number + 1
        })
        .await;
        let opened = hub.post(&format!("/projects/b{number}/open"), &json!({})).await.ok();
        assert_eq!(opened["graph"]["roots"][0]["name"], "Book");
    }
}

/// A deleted project stays deleted, with any number of saves in flight.
#[tokio::test]
async fn saves_do_not_restore_a_deleted_project() {
    let hub = TestHub::start().await;
    for _ in 0..30 {
        let made = hub
            .post("/projects", &json!({"template_id": "novel", "project_name": "Book"}))
            .await
            .ok();
        let save = format!("/sessions/{}/save", made["session_id"].as_str().expect("an id"));
        let (before, deleted, after) = tokio::join!(
            join_all((0..3).map(async |_| hub.post(&save, &json!({})).await)),
            hub.delete("/projects/book"),
            join_all((0..3).map(async |_| hub.post(&save, &json!({})).await)),
        );
        assert_eq!(deleted.status, 204);
        let (_, refused) = successes_and_codes(before.into_iter().chain(after).collect());
        assert!(refused.is_subset(&codes(["INVALID_SESSION"])), "{refused:?}");
        assert_eq!(hub.get("/projects").await.ok(), json!({"projects": [], "total": 0}));
        assert!(!hub.dir.path().join("projects/book.json").exists());
    }
}

/// Concurrent creations, opens, saves and deletions of a project get documented answers, and leave at most one session,
/// whose project is listed.
#[tokio::test]
async fn concurrent_project_requests_have_documented_answers() {
    let hub = TestHub::start().await;
    for _ in 0..20 {
        let make = async |_| {
            let body = json!({"template_id": "novel", "project_name": "Book", "project_id": "book"});
            hub.post("/projects", &body).await
        };
        let open = async |_| hub.post("/projects/book/open", &json!({})).await;
        let show = async |_| hub.get("/projects/book").await;
        let delete = async |_| hub.delete("/projects/book").await;
        let save = async |_| {
            let listed = hub.get("/projects").await.ok();
            let Some(session) = listed["projects"][0]["session_id"].as_str() else {
                return Reply {
                    status: 200,
                    body: Value::Null,
                };
            };
            hub.post(&format!("/sessions/{session}/save"), &json!({})).await
        };
        let (made, opened, shown, deleted, saved) = tokio::join!(
            join_all((0..3).map(make)),
            join_all((0..3).map(open)),
            join_all((0..3).map(show)),
            join_all((0..3).map(delete)),
            join_all((0..3).map(save)),
        );
        let allowed = codes(["PROJECT_EXISTS", "PROJECT_NOT_FOUND", "INVALID_SESSION"]);
        let (_, refused) = successes_and_codes([made, opened, shown, deleted, saved].concat());
        assert!(refused.is_subset(&allowed), "{refused:?}");
        let (sessions, projects) = (hub.get("/sessions").await.ok(), hub.get("/projects").await.ok());
        let total = sessions["total"].as_u64().expect("a number");
        assert!(total <= 1, "{sessions}");
        if total == 1 {
            assert_eq!(
                sessions["sessions"][0]["session_id"],
                projects["projects"][0]["session_id"]
            );
        }
        hub.delete("/projects/book").await;
        assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
        assert_eq!(hub.get("/projects").await.ok()["total"], 0);
    }
}
