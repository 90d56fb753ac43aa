//! Things that happen at the same time over REST: whatever the order, the outcome is one that some order explains.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    calls::{Raw, until},
    support::{Reply, TestHub},
};

/// The part of the answers that were successes, and the codes of the others.
fn sorted(replies: Vec<Reply>) -> (Vec<Value>, BTreeSet<String>) {
    let (good, bad): (Vec<Reply>, Vec<Reply>) = replies.into_iter().partition(|reply| reply.status < 300);
    let codes = bad.iter().map(|reply| reply.refused().1.to_owned()).collect();
    (good.into_iter().map(|reply| reply.body).collect(), codes)
}

fn codes<const N: usize>(codes: [&str; N]) -> BTreeSet<String> {
    codes.into_iter().map(str::to_owned).collect()
}

/// P1: commands of many at once get places of their own, dense, and every one is in the graph.
#[tokio::test]
async fn commands_at_the_same_time_get_places_of_their_own() {
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

/// P5: of many who want the same thing that only one can have, one gets it.
#[tokio::test]
async fn what_only_one_can_have_one_gets() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = hub.create_node(&session, None, "node").await;
    let parents = join_all((0..10).map(async |_| hub.create_node(&session, None, "parent").await)).await;
    let link = async |parent: &String| {
        hub.execute(&session, "LinkNode", json!({"parent_id": parent, "child_id": node}))
            .await
    };
    let (won, lost) = sorted(join_all(parents.iter().map(link)).await);
    assert_eq!((won.len(), lost), (1, codes(["ALREADY_LINKED"])));
    let delete = async |_| hub.execute(&session, "DeleteNode", json!({"node_id": node})).await;
    let (won, lost) = sorted(join_all((0..10).map(delete)).await);
    assert_eq!((won.len(), lost), (1, codes(["NODE_NOT_FOUND"])));
    let undo = async |_| hub.post(&format!("/sessions/{session}/undo"), &json!({})).await;
    let (won, lost) = sorted(join_all((0..20).map(undo)).await);
    assert_eq!(
        (won.len(), lost),
        (13, codes(["NOTHING_TO_UNDO"])),
        "as many as there were commands"
    );
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));
}

/// P3, P5: a command that meets the end of its session is either applied before it or refused as in a session that is
/// not there; nothing is left half done and nothing hangs. One of many who delete it does so.
#[tokio::test]
async fn a_command_meets_the_end_of_its_session() {
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
            let (_, refused) = sorted(replies);
            assert!(refused.is_subset(&allowed), "{refused:?}");
        }
        let (deleted, refused) = sorted(deletions);
        assert_eq!((deleted.len(), refused), (1, codes(["INVALID_SESSION"])));
        assert_eq!(
            hub.get(&format!("/sessions/{session}/graph")).await.refused(),
            (404, "INVALID_SESSION")
        );
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
    assert_eq!(hub.metric("hub_sessions").await, "0", "no actor stays behind");
}

/// Of many who make the same project one makes it; no session of the others stays behind.
#[tokio::test]
async fn a_project_that_many_make_is_made_once() {
    let hub = TestHub::start().await;
    for _ in 0..10 {
        let make = async |_| {
            let body = json!({"template_id": "novel", "project_name": "Book", "project_id": "book"});
            hub.post("/projects", &body).await
        };
        let (made, refused) = sorted(join_all((0..8).map(make)).await);
        assert_eq!((made.len(), refused), (1, codes(["PROJECT_EXISTS"])));
        let list = hub.get("/sessions").await.ok();
        assert_eq!(
            (&list["total"], &list["sessions"][0]["session_id"]),
            (&json!(1), &made[0]["session_id"])
        );
        assert_eq!(hub.delete("/projects/book").await.status, 204);
    }
}

/// P5: of many who make a project of one name at once each gets a project of its own, and no number is left out.
#[tokio::test]
async fn projects_of_one_name_that_many_make_are_numbered() {
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

/// One project has one session, however many open it at once: all of them get that one, with its graph.
#[tokio::test]
async fn a_project_that_many_open_has_one_session() {
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
                "nobody sees it before it is there"
            );
        }
        let session = opened[0]["session_id"].as_str().expect("an id");
        assert_eq!(hub.delete(&format!("/sessions/{session}")).await.status, 204);
    }
}

/// A client that goes away while its project is being made leaves a whole project behind or none.
#[tokio::test]
async fn a_project_is_made_whole_although_its_maker_is_gone() {
    let hub = TestHub::start().await;
    let body =
        |number: usize| json!({"template_id": "novel", "project_name": "Book", "project_id": format!("b{number}")});
    for number in 0..30 {
        let text = body(number).to_string();
        let head =
            "POST /api/v1/projects HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length";
        let mut maker = Raw::to(&hub.url).await;
        maker.send(format!("{head}: {}\r\n\r\n{text}", text.len())).await;
        drop(maker);
        let made = hub.post("/projects", &body(number)).await;
        assert!(
            made.status == 201 || made.refused() == (409, "PROJECT_EXISTS"),
            "{made:?}"
        );
        // A name is taken before there is a log, and nobody finds the project until then.
        until("the project is there", async || {
            hub.get("/projects").await.ok()["total"] == number + 1
        })
        .await;
        let opened = hub.post(&format!("/projects/b{number}/open"), &json!({})).await.ok();
        assert_eq!(opened["graph"]["roots"][0]["name"], "Book");
    }
}

/// A project that was deleted is gone, whatever saves of it were under way.
#[tokio::test]
async fn a_save_does_not_bring_a_deleted_project_back() {
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
        let (_, refused) = sorted(before.into_iter().chain(after).collect());
        assert!(refused.is_subset(&codes(["INVALID_SESSION"])), "{refused:?}");
        assert_eq!(hub.get("/projects").await.ok(), json!({"projects": [], "total": 0}));
        assert!(!hub.dir.path().join("projects/book.json").exists());
    }
}

/// Making, opening, saving and deleting one project, all at once: each answer is one of those documented, and at the end
/// there is at most one session, whose project is the one that is listed.
#[tokio::test]
async fn everything_at_once_with_one_project() {
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
        let (_, refused) = sorted([made, opened, shown, deleted, saved].concat());
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
