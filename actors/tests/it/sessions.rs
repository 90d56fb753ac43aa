//! Sessions: creation, list, cleanup, and the index of projects.

use std::{sync::Arc, time::Duration};

use talus_actors::{
    domain::{
        command::{Author, Command, Context},
        ids::{ProjectId, Seq},
        session::Project,
    },
    hub::{Cleanup, HubError, NewSession},
    log::planned::Fate,
    random::new_command_id,
};
use tracing::Span;

use crate::actors_support::{
    ClosedLog, NEVER, Session, Setup, Underway, World, create_node, delete_nothing, new_node_id, settle, within,
};

fn project_id(id: &str) -> ProjectId {
    id.parse().expect("a slug")
}

fn project(id: &str) -> NewSession {
    NewSession {
        project: Some(Project {
            project_id: project_id(id),
            project_name: id.into(),
            template_id: None,
        }),
        ..NewSession::default()
    }
}

fn create(world: &World, new: NewSession) -> Underway<Result<Session, HubError>> {
    let hub = world.hub.clone();
    Underway::begin(async move {
        let (header, _) = hub.create(new).await?;
        Ok(Session {
            hub,
            id: header.session_id,
            epoch: header.epoch,
        })
    })
}

/// A session is created with a first command, recorded under its sender's origin, or empty.
#[tokio::test]
async fn session_is_created_with_first_command() {
    let world = World::start().await;
    let node_id = new_node_id();
    let author = Author {
        client_id: None,
        user: Some("ada".into()),
    };
    let new = NewSession {
        first: Some(create_node(node_id)),
        author: author.clone(),
        ..project("bronco")
    };
    let (header, receipt) = world.hub.create(new).await.expect("created");
    let receipt = receipt.expect("there was a first command");
    assert_eq!((receipt.seq, &receipt.outcome.node_ids[..]), (Seq(2), &[node_id][..]));
    let stored = world
        .log
        .open(header.session_id, usize::MAX)
        .await
        .expect("readable")
        .expect("created");
    assert_eq!(stored.header, header);
    assert_eq!(stored.records[0].author, author);

    let (header, receipt) = world.hub.create(NewSession::default()).await.expect("created");
    assert_eq!((header.project, receipt), (None, None));
}

/// P5: a session whose first command is refused or fails is not created, and its project id is free again.
#[tokio::test]
async fn session_with_refused_first_command_is_not_created() {
    let world = World::start().await;
    let refused = NewSession {
        first: Some(delete_nothing()),
        ..project("bronco")
    };
    assert!(matches!(
        world.hub.create(refused).await,
        Err(HubError::Rejected { seq: Seq(0), .. })
    ));
    world.plan.next([Fate::Lose]);
    let failing = NewSession {
        first: Some(create_node(new_node_id())),
        ..project("bronco")
    };
    assert_eq!(world.hub.create(failing).await.err(), Some(HubError::OutcomeUnknown));
    assert_eq!(world.hub.list(0, 10).await.expect("listed").1, 0);
    assert_eq!(world.log.list().await, Ok(Vec::new()));
    world.create(project("bronco")).await;
}

/// Of several creations for one project one succeeds, and the others return the existing session's id. Creations for
/// different projects all succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn project_has_one_session() {
    let world = World::start().await;
    let same: Vec<_> = (0..20).map(|_| create(&world, project("bronco"))).collect();
    let different: Vec<_> = (0..20)
        .map(|number| create(&world, project(&format!("p-{number}"))))
        .collect();
    let (mut created, mut existing) = (Vec::new(), Vec::new());
    for creation in same {
        match creation.answer().await {
            Ok(session) => created.push(session.id),
            Err(HubError::ProjectExists(session_id)) => existing.push(session_id),
            Err(other) => unreachable!("{other}"),
        }
    }
    assert_eq!(created.len(), 1);
    assert_eq!(existing, vec![created[0]; 19]);
    for creation in different {
        creation.answer().await.expect("created");
    }
    assert_eq!(
        world.hub.session_of_project(&project_id("bronco")).await,
        Ok(Some(created[0]))
    );
    assert_eq!(world.hub.session_of_project(&project_id("mustang")).await, Ok(None));
    let projects = world.hub.projects().await.expect("listed");
    assert_eq!(projects.len(), 21);
    assert_eq!(projects[&project_id("bronco")].session_id, created[0]);
}

/// P9: the number of sessions is limited, and deleting a session makes space for another.
#[tokio::test]
async fn sessions_are_limited() {
    let world = Setup::new()
        .supervised(|supervision| supervision.sessions_max = 2)
        .start()
        .await;
    let first = world.session().await;
    world.session().await;
    for _ in 0..3 {
        let refused = world.hub.create(NewSession::default()).await;
        assert_eq!(refused.err(), Some(HubError::TooManySessions { max: 2 }));
    }
    world.hub.delete(first.id).await.expect("deleted");
    world.session().await;
}

/// Sessions are listed in the order of creation, page by page, with their current state.
#[tokio::test]
async fn sessions_are_listed_in_order_page_by_page() {
    let world = World::start().await;
    let mut sessions = Vec::new();
    for number in 0..5 {
        let session = world.create(project(&format!("p-{number}"))).await;
        for _ in 0..number {
            session.added().await;
        }
        sessions.push(session);
    }
    let _client = sessions[3].joined("ada").await;
    let mut listed = Vec::new();
    for offset in [0, 2, 4, 6] {
        let (page, total) = world.hub.list(offset, 2).await.expect("listed");
        assert_eq!(total, 5);
        listed.extend(page);
    }
    assert_eq!(listed.len(), 5);
    for (number, (summary, session)) in (0..).zip(listed.iter().zip(&sessions)) {
        assert_eq!(summary.header.session_id, session.id);
        assert_eq!(summary.seq, Seq(2 * number as u64));
        assert_eq!(summary.node_count, number);
        assert_eq!(summary.active_clients, usize::from(number == 3));
    }
}

/// P4: a hub that starts over an existing log has the same sessions in the same order, with projects, undo and
/// receipts.
#[tokio::test]
async fn sessions_survive_a_hub_restart() {
    let world = World::start().await;
    let (first, second) = (
        world.create(project("bronco")).await,
        world.create(project("mustang")).await,
    );
    second.added().await;
    let (id, command) = (new_command_id(), create_node(new_node_id()));
    first.submit_as(id, command.clone()).await.expect("accepted");
    within(world.hub.drain()).await;

    let mut setup = Setup::new();
    setup.inner = Arc::clone(&world.log);
    let world = setup.start().await;
    let (listed, total) = world.hub.list(0, 10).await.expect("listed");
    assert_eq!(total, 2);
    assert_eq!(
        [listed[0].header.session_id, listed[1].header.session_id],
        [first.id, second.id]
    );
    let refused = world.hub.create(project("bronco")).await;
    assert_eq!(refused.err(), Some(HubError::ProjectExists(first.id)));
    let first = Session {
        hub: world.hub.clone(),
        ..first
    };
    let again = first.submit_as(id, command).await.expect("accepted");
    assert!(again.receipt.duplicate, "P4: also across a restart");
    assert_eq!((again.receipt.seq, again.epoch), (Seq(2), first.epoch));
    assert!(first.snapshot().await.expect("read").undo_available);
}

/// A cleanup deletes every session that has no member and was inactive for the given time, and no other session. The
/// number of sessions is not limited by a page.
#[tokio::test]
async fn cleanup_deletes_unused_sessions() {
    let world = World::start().await;
    let mut idle = Vec::new();
    for number in 0..300 {
        idle.push(world.create(project(&format!("p-{number}"))).await);
    }
    let used = world.session().await;
    let mut client = used.joined("ada").await;
    let nothing = world.hub.cleanup(NEVER).await.expect("cleaned up");
    assert_eq!(
        nothing,
        Cleanup {
            removed: 0,
            remaining: 301
        }
    );
    let all_but_one = within(world.hub.cleanup(Duration::ZERO)).await.expect("cleaned up");
    assert_eq!(
        all_but_one,
        Cleanup {
            removed: 300,
            remaining: 1
        }
    );
    assert_eq!(
        idle[7].snapshot().await.err(),
        Some(HubError::SessionNotFound(idle[7].id))
    );
    used.added().await;
    client.until_seq(Seq(2)).await;
    assert_eq!(world.log.list().await.expect("readable").len(), 1);
    world.create(project("p-7")).await;
}

/// A cleanup measures inactivity by the time of the last command, not of the creation.
#[tokio::test]
async fn cleanup_measures_from_the_last_command() {
    let world = World::start().await;
    let (old, recent) = (world.session().await, world.session().await);
    let command: Arc<Command> = create_node(new_node_id()).into();
    for (session, minutes_ago) in [(&old, -1), (&recent, 60)] {
        let now = talus_actors::clock::now().0 + minutes_ago * 60_000;
        let context = Context {
            command_id: new_command_id(),
            author: Author::default(),
            now: talus_actors::domain::ids::Timestamp(now),
            expected_seq: None,
        };
        let submitted = session
            .hub
            .submit(session.id, Arc::clone(&command), context, Span::none());
        submitted.await.expect("accepted");
    }
    let cleanup = world.hub.cleanup(Duration::from_secs(30)).await.expect("cleaned up");
    assert_eq!(
        cleanup,
        Cleanup {
            removed: 1,
            remaining: 1
        }
    );
    assert_eq!(old.snapshot().await.err(), Some(HubError::SessionNotFound(old.id)));
    recent.added().await;
}

/// A session whose log is being created is not listed, and its project id is taken. A reader with its id waits for the
/// creation. Neither a deletion nor a cleanup ends the session.
#[tokio::test]
async fn readers_wait_for_session_in_creation() {
    let world = World::start().await;
    world.plan.hold_creates(true);
    let creating = create(&world, project("bronco"));
    settle().await;
    let refused = create(&world, project("bronco")).answer().await;
    let Err(HubError::ProjectExists(session_id)) = refused else {
        unreachable!("the name is taken")
    };
    assert_eq!(world.hub.list(0, 10).await.expect("listed"), (Vec::new(), 0));
    assert_eq!(world.hub.projects().await.expect("listed").len(), 0);
    assert_eq!(world.hub.session_of_project(&project_id("bronco")).await, Ok(None));
    let missing = HubError::SessionNotFound(session_id);
    let hub = world.hub.clone();
    let looking = tokio::spawn(async move { hub.snapshot(session_id).await });
    settle().await;
    assert!(!looking.is_finished());
    assert_eq!(world.hub.delete(session_id).await, Err(missing));
    assert_eq!(world.hub.cleanup(Duration::ZERO).await.expect("cleaned up").removed, 0);

    world.plan.hold_creates(false);
    let session = creating.answer().await.expect("created");
    assert_eq!(session.id, session_id);
    let found = within(looking).await.expect("no panic").expect("created");
    assert_eq!(found.header.session_id, session_id);
    assert_eq!(session.added().await, Seq(2));
    assert_eq!(world.hub.list(0, 10).await.expect("listed").1, 1);
    assert_eq!(
        world.hub.session_of_project(&project_id("bronco")).await,
        Ok(Some(session_id))
    );
}

/// A creation continues after its caller is gone: it ends with a session, so that the project id is not taken for ever.
#[tokio::test]
async fn creation_finishes_without_its_caller() {
    let world = World::start().await;
    world.plan.hold_creates(true);
    let creating = create(
        &world,
        NewSession {
            first: Some(create_node(new_node_id())),
            ..project("bronco")
        },
    );
    settle().await;
    drop(creating);
    settle().await;
    world.plan.hold_creates(false);
    let session_id = within(async {
        loop {
            match world.hub.session_of_project(&project_id("bronco")).await {
                Ok(Some(session_id)) => return session_id,
                Ok(None) => tokio::task::yield_now().await,
                Err(other) => unreachable!("{other}"),
            }
        }
    })
    .await;
    let snapshot = world
        .hub
        .snapshot_at_least(session_id, Seq(2), NEVER)
        .await
        .expect("the session exists");
    assert_eq!(snapshot.document.graph.len(), 1);
}

/// A session that the log fails to create leaves nothing behind.
#[tokio::test]
async fn session_is_not_created_if_the_log_fails() {
    let mut setup = Setup::new();
    setup.inner = Arc::new(ClosedLog::default());
    let world = setup.start().await;
    for _ in 0..2 {
        let failed = world.hub.create(project("bronco")).await;
        assert_eq!(failed.err(), Some(HubError::Log(ClosedLog::error())));
    }
    assert_eq!(world.hub.list(0, 10).await.expect("listed").1, 0);
}
