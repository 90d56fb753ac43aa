//! Test fixtures: a hub per test, over a log and with sockets that the test controls.

mod calls;
mod closed_log;
mod encoder;
mod sockets;

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use talus_actors::{
    domain::{
        blueprint::Blueprint,
        ids::{Epoch, SessionId, TemplateId},
        limits::Limits,
    },
    fan_out::Encoder,
    hub::{Hub, HubParts, HubSettings, NewSession, RoomSettings},
    log::{
        EventLog, MemoryLog,
        planned::{Plan, PlannedLog},
    },
    session_actor::BlueprintSource,
    session_supervisor::SupervisionSettings,
    stats::Stats,
};

pub use calls::*;
pub use closed_log::ClosedLog;
pub use encoder::TestEncoder;
pub use sockets::*;

/// Timeout for an event that must happen.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// Duration that exceeds any test.
pub const NEVER: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Parameters of a hub under test, to be changed before [`Setup::start`].
pub struct Setup {
    pub settings: HubSettings,
    pub blueprints: Arc<dyn BlueprintSource>,
    /// True if sockets are served.
    pub realtime: bool,
    /// Log behind the planned log.
    pub inner: Arc<dyn EventLog>,
}

/// Running hub with the test's handles of its dependencies.
pub struct World {
    pub hub: Hub,
    pub plan: Plan,
    pub encoder: Arc<TestEncoder>,
    pub log: Arc<dyn EventLog>,
}

/// Session of a [`World`].
#[derive(Clone)]
pub struct Session {
    pub hub: Hub,
    pub id: SessionId,
    pub epoch: Epoch,
}

impl Setup {
    /// Returns parameters with limits that no test reaches by accident, immediate restarts, and no periodic work.
    pub fn new() -> Self {
        Self {
            settings: HubSettings {
                limits: Limits::default(),
                supervision: SupervisionSettings {
                    restarts_max: 5,
                    restart_window: NEVER,
                    restart_backoff: std::time::Duration::ZERO,
                    idle_timeout: NEVER,
                    sessions_max: 1_000,
                    in_flight_per_session_max: 1_000,
                    reconnect_ms: (100, 200),
                },
                room: RoomSettings {
                    tick_interval: NEVER,
                    events_packet_bytes_max: usize::MAX,
                    sync_bytes_in_flight_max: usize::MAX,
                    presence_interval: NEVER,
                    presence_clients_max: 1_000,
                    deliveries_waiting_max: 16_384,
                },
                in_flight_max: 10_000,
                group_commands_max: 64,
                snapshot_events: 1_000_000,
                sockets_per_session_max: 100,
                command_filter_bytes_max: 1_048_576,
            },
            blueprints: Arc::new(NoBlueprints),
            realtime: true,
            inner: Arc::new(MemoryLog::start().expect("a thread")),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut HubSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn supervised(self, change: impl FnOnce(&mut SupervisionSettings)) -> Self {
        self.with(|settings| change(&mut settings.supervision))
    }

    pub async fn start(self) -> World {
        let (log, plan) = PlannedLog::over(self.inner);
        let log: Arc<dyn EventLog> = Arc::new(log);
        let encoder = Arc::new(TestEncoder::default());
        let parts = HubParts {
            log: Arc::clone(&log),
            blueprints: self.blueprints,
            encoder: self.realtime.then(|| Arc::clone(&encoder) as Arc<dyn Encoder>),
            stats: Arc::new(Stats::default()),
        };
        let hub = Hub::start(self.settings, parts).await.expect("the log can be listed");
        World {
            hub,
            plan,
            encoder,
            log,
        }
    }
}

impl World {
    /// Starts a hub with the parameters of [`Setup::new`].
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// Creates and loads a session.
    pub async fn session(&self) -> Session {
        let session = self.create(NewSession::default()).await;
        self.hub.wake(session.id).await.expect("the session starts");
        session
    }

    pub async fn create(&self, new: NewSession) -> Session {
        let (header, _) = self.hub.create(new).await.expect("created");
        Session {
            hub: self.hub.clone(),
            id: header.session_id,
            epoch: header.epoch,
        }
    }

    pub fn stats(&self) -> &Stats {
        self.hub.stats()
    }
}

/// Source without templates.
pub struct NoBlueprints;

impl BlueprintSource for NoBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        std::future::ready(None).boxed()
    }
}
