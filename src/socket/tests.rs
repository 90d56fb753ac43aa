//! Tests of call orders of the library that no client can bring about at will.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use engineioxide::service::NotFoundService;
use futures_util::future::BoxFuture;
use socketioxide::{SocketIo, extract::TryData, service::SocketIoService};
use talus_actors::{
    domain::{blueprint::Blueprint, command::Author, ids::TemplateId},
    hub::{HubParts, HubSettings, NewSession, RoomSettings, SupervisionSettings},
    log::MemoryLog,
    session_actor::BlueprintSource,
    stats::Stats,
};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::wire::room::{ClientLimits, WireEncoder};

/// Deadline for waits, longer than any event takes that occurs at all.
const DEADLINE: Duration = Duration::from_secs(60);

struct NoBlueprints;

impl BlueprintSource for NoBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        Box::pin(async { None })
    }
}

async fn hub() -> Hub {
    let config = crate::config::Config::default();
    let never = Duration::from_secs(3_600);
    let settings = HubSettings {
        limits: talus_actors::domain::limits::Limits::default(),
        supervision: SupervisionSettings {
            restarts_max: 5,
            restart_window: never,
            restart_backoff: Duration::ZERO,
            idle_timeout: never,
            sessions_max: 10,
            in_flight_per_session_max: 100,
            reconnect_ms: (100, 200),
        },
        room: RoomSettings {
            tick_interval: never,
            events_packet_bytes_max: usize::MAX,
            sync_bytes_in_flight_max: usize::MAX,
            presence_interval: never,
            presence_clients_max: 10,
            deliveries_waiting_max: config.realtime.room_deliveries_waiting_max,
        },
        in_flight_max: 100,
        group_commands_max: 64,
        snapshot_events: 1_000,
        sockets_per_session_max: 10,
        command_filter_bytes_max: 1_048_576,
    };
    let parts = HubParts {
        log: Arc::new(MemoryLog::start().expect("a thread")),
        blueprints: Arc::new(NoBlueprints),
        encoder: Some(Arc::new(WireEncoder {
            reconnect_ms: (100, 200),
            limits: ClientLimits::DEFAULT,
        })),
        stats: Arc::new(Stats::default()),
    };
    Hub::start(settings, parts).await.expect("an empty log can be listed")
}

async fn session(hub: &Hub) -> SessionId {
    let new = NewSession {
        project: None,
        first: None,
        author: Author {
            client_id: None,
            user: None,
        },
    };
    hub.create(new).await.expect("a session").0.session_id
}

/// Future that runs in the place of a socket's connect handler, or around it.
type Connecting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sockets of a hub, with a connect handler of the test.
struct Fixture {
    hub: Hub,
    edge: Edge,
    service: SocketIoService<NotFoundService>,
    connected: mpsc::UnboundedReceiver<()>,
}

impl Fixture {
    async fn new(late_join: bool, connecting: fn(Edge, SocketRef) -> Connecting) -> Self {
        let hub = hub().await;
        let mut realtime = crate::config::Config::default().realtime;
        realtime.late_join = late_join;
        realtime.sweep_interval_ms = 5;
        let (service, io) = SocketIo::builder().req_path(PATH).build_svc();
        let edge = Edge {
            hub: hub.clone(),
            realtime: Arc::new(realtime.clone()),
            metrics: Metrics::default(),
            connections: Permits::new(1),
            answers_max: 10,
            sweeper: Sweeper::start(&io, &hub, realtime.sweep_interval()),
        };
        let (done, connected) = mpsc::unbounded_channel();
        let (admitting, connecting_edge) = (edge.clone(), edge.clone());
        let admit = move |socket: SocketRef, auth: TryData<Auth>| {
            let edge = admitting.clone();
            async move { edge.admit(&socket, auth).await }
        };
        let connect = move |socket: SocketRef| {
            let (edge, done) = (connecting_edge.clone(), done.clone());
            async move {
                connecting(edge, socket).await;
                done.send(()).expect("the test waits");
            }
        };
        io.ns(NAMESPACE, connect.with(admit));
        Self {
            hub,
            edge,
            service,
            connected,
        }
    }

    async fn request(&self, method: &str, sid: &str, body: &str) -> String {
        let sid = if sid.is_empty() {
            String::new()
        } else {
            format!("&sid={sid}")
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{PATH}?EIO=4&transport=polling{sid}"))
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let answer = self.service.clone().oneshot(request).await.expect("served");
        let body = to_bytes(Body::new(answer.into_body()), 1_000_000)
            .await
            .expect("a body");
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    /// Connects a polling client. Returns the transport's id after the connect handler has run.
    async fn connect(&mut self, auth: &str) -> String {
        let opened = self.request("GET", "", "").await;
        let opened: serde_json::Value = serde_json::from_str(&opened[1..]).expect("JSON");
        let sid = opened["sid"].as_str().expect("an id").to_owned();
        self.request("POST", &sid, &format!("40/graph,{auth}")).await;
        let connected = tokio::time::timeout(DEADLINE, self.connected.recv()).await;
        connected.expect("it is let in").expect("it tells");
        sid
    }

    async fn members(&self, session_id: SessionId) -> usize {
        let session = self.hub.snapshot_for_join(session_id).await;
        session.expect("the session is there").active_clients
    }

    async fn wait_until_empty(&self, session_id: SessionId) {
        let deserted = async { while self.members(session_id).await > 0 {} };
        tokio::time::timeout(DEADLINE, deserted).await.expect("nobody stays");
    }
}

fn memberships_of(socket: &SocketRef) -> Arc<Memberships> {
    socket
        .extensions
        .get::<AdmittedSocket>()
        .expect("it was let in")
        .memberships
}

/// P9: the library may run a socket's disconnect handler before its connect handler. The socket then joins no room, and
/// its connection permit is free.
#[tokio::test]
async fn disconnect_before_join_leaves_no_member() {
    let fixture = Fixture::new(false, |edge, socket| {
        Box::pin(async move {
            edge.on_disconnect(&memberships_of(&socket), DisconnectReason::TransportClose)
                .await;
            assert!(socket.connected(), "as the library says");
            edge.connect(socket).await;
        })
    });
    let mut fixture = fixture.await;
    let session_id = session(&fixture.hub).await;
    for _ in 0..2 {
        fixture.connect(&format!(r#"{{"session_id":"{session_id}"}}"#)).await;
        assert_eq!(fixture.members(session_id).await, 0);
        assert_eq!(fixture.edge.connections.in_use(), 0);
    }
}

/// P9: the same holds for a socket that joins late.
#[tokio::test]
async fn disconnect_before_late_join_leaves_no_member() {
    let fixture = Fixture::new(true, |edge, socket| {
        Box::pin(async move {
            edge.on_disconnect(&memberships_of(&socket), DisconnectReason::TransportClose)
                .await;
            edge.connect(socket).await;
        })
    });
    let mut fixture = fixture.await;
    let session_id = session(&fixture.hub).await;
    let sid = fixture.connect("{}").await;
    let join = format!(r#"42/graph,1["join_session",{{"session_id":"{session_id}"}}]"#);
    fixture.request("POST", &sid, &join).await;
    let answered = async { while !fixture.request("GET", &sid, "").await.contains("43/graph,1[") {} };
    tokio::time::timeout(DEADLINE, answered).await.expect("it is answered");
    assert_eq!(fixture.members(session_id).await, 0);
}

/// P9: the sweep removes a socket whose disconnect was not reported to the hub.
#[tokio::test]
async fn sweep_removes_members_without_connection() {
    let fixture = Fixture::new(false, |edge, socket| {
        Box::pin(async move {
            socket.on_disconnect(async || {});
            edge.connect(socket).await;
        })
    });
    let mut fixture = fixture.await;
    let session_id = session(&fixture.hub).await;
    let sid = fixture.connect(&format!(r#"{{"session_id":"{session_id}"}}"#)).await;
    assert_eq!(fixture.members(session_id).await, 1);
    fixture.request("POST", &sid, "41/graph,").await;
    fixture.wait_until_empty(session_id).await;
    assert_eq!(fixture.edge.connections.in_use(), 0);
}
