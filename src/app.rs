//! The hub as a whole: what it stands on, how it listens, how it goes.

mod collector;
mod shutdown;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::{Router, middleware::from_fn_with_state};
use futures_util::{FutureExt, future::BoxFuture};
use talus_actors::{
    domain::{blueprint::Blueprint, ids::TemplateId, limits::Limits},
    fan_out::Encoder,
    hub::{Hub, HubParts, HubSettings},
    log::{EventLog, LogError, MemoryLog},
    session_actor::BlueprintSource,
    session_supervisor::SupervisionSettings,
    stats::Stats,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config},
    http::{
        AppState,
        layers::{Origins, check_draining, check_origin, with_layers},
        routes,
    },
    listener::{Connection, Listener},
    metrics::Metrics,
    projects::ProjectStore,
    socket::{self, Sockets},
    templates::TemplateStore,
    wire::room::WireEncoder,
};

pub use shutdown::ShutdownOverran;

/// Why the hub cannot start. Each is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody can connect.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// The templates cannot be read.
    #[error("templates.dir: {0}")]
    Templates(String),
    /// The data directory cannot be used.
    #[error("data.dir: {0}")]
    Data(String),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
}

/// A hub that listens and does not serve yet.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    sockets: Option<Sockets>,
    state: AppState,
}

impl App {
    /// Reads what the hub stands on, and listens.
    ///
    /// # Errors
    /// Says in one line what is missing.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let templates = Arc::new(TemplateStore::new(config.templates.dir.clone()));
        templates
            .check_readable()
            .map_err(|error| StartError::Templates(error.to_string()))?;
        let projects = ProjectStore::open(config.projects_dir(), config.projects.file_bytes_max)
            .map_err(|error| StartError::Data(error.to_string()))?;
        let log = MemoryLog::start().map_err(|error| StartError::Log(LogError::Io(error.to_string())))?;
        let stats = Arc::new(Stats::default());
        let limits = limits(&config.limits);
        let hub = start_hub(
            &config,
            limits.clone(),
            Arc::new(log),
            Arc::clone(&templates),
            Arc::clone(&stats),
        )
        .await?;
        let metrics = Metrics::new(vec![Box::new(collector::StatsCollector::new(stats))]);
        let state = AppState {
            hub,
            config,
            limits: Arc::new(limits),
            templates,
            projects: Arc::new(projects),
            metrics,
        };
        let (listener, address) = listen(&state.config).await?;
        let (router, sockets) = router(&state);
        Ok(Self {
            listener,
            address,
            router,
            sockets,
            state,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then goes in order: takes on nothing new, finishes what is under way, tells the sockets, and
    /// closes them, then cuts what is left.
    ///
    /// # Errors
    /// If that takes longer than its grace.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ShutdownOverran> {
        let Self {
            listener,
            router,
            sockets,
            state,
            ..
        } = self;
        let connections = CancellationToken::new();
        let closing = CancellationToken::new();
        // As long as a client may take to answer a ping: one that takes nothing does not even get it.
        let realtime = &state.config.realtime;
        let stall_max = realtime.ping_interval() + realtime.ping_timeout();
        let listener = Listener::new(listener, connections.clone(), stall_max);
        let service = router.into_make_service_with_connect_info::<Connection>();
        let server = axum::serve(listener, service).with_graceful_shutdown(closing.clone().cancelled_owned());
        let server = tokio::spawn(server.into_future());
        stop.await;
        shutdown::shut_down(&state, sockets, server, &closing, &connections).await
    }
}

async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), StartError> {
    let (host, port) = (config.server.host.as_str(), config.server.port);
    let failed = |error| StartError::Listen {
        address: format!("{host}:{port}"),
        error,
    };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn router(state: &AppState) -> (Router, Option<Sockets>) {
    let rest = routes(state.clone());
    let realtime = &state.config.realtime;
    if !realtime.enabled {
        return (with_layers(rest, state), None);
    }
    let (service, sockets) = socket::service(&state.hub, realtime, &state.config.limits);
    let origins = Arc::new(Origins::new(&state.config.cors));
    let edge = Router::new()
        .route_service(socket::PATH, service)
        .layer(from_fn_with_state(state.hub.clone(), check_draining))
        .layer(from_fn_with_state(origins, check_origin));
    (with_layers(edge.merge(rest), state), Some(sockets))
}

async fn start_hub(
    config: &Config,
    limits: Limits,
    log: Arc<dyn EventLog>,
    templates: Arc<TemplateStore>,
    stats: Arc<Stats>,
) -> Result<Hub, LogError> {
    let realtime = &config.realtime;
    let reconnect_ms = (realtime.reconnect_min_ms, realtime.reconnect_max_ms);
    let encoder = realtime
        .enabled
        .then(|| Arc::new(WireEncoder { reconnect_ms }) as Arc<dyn Encoder>);
    let settings = HubSettings {
        limits,
        supervision: SupervisionSettings {
            restarts_max: config.sessions.restarts_max as usize,
            restart_window: config.sessions.restart_window(),
            restart_backoff: config.sessions.restart_backoff(),
            idle_timeout: config.sessions.idle_timeout(),
            sessions_max: config.limits.sessions_max,
            in_flight_per_session_max: config.limits.in_flight_per_session_max,
            reconnect_ms,
        },
        in_flight_max: config.limits.in_flight_max,
        group_commands_max: config.limits.group_commands_max,
        sockets_per_session_max: realtime.sockets_per_session_max,
    };
    let blueprints = Arc::new(Blueprints(templates));
    Hub::start(
        settings,
        HubParts {
            log,
            blueprints,
            encoder,
            stats,
        },
    )
    .await
}

fn limits(config: &config::Limits) -> Limits {
    Limits {
        name_chars_max: config.name_chars_max,
        value_bytes_max: config.value_bytes_max,
        properties_per_node_max: config.properties_per_node_max,
        depth_max: config.depth_max,
        nodes_max: config.nodes_per_session_max,
        batch_commands_max: config.batch_commands_max,
        undo_depth_max: config.undo_depth_max,
        undo_bytes_max: config.undo_bytes_max,
        replay_window_events: config.replay_window_events,
    }
}

/// The templates on disk, as sessions find them when they start.
struct Blueprints(Arc<TemplateStore>);

impl BlueprintSource for Blueprints {
    fn blueprint(&self, id: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        let (templates, id) = (Arc::clone(&self.0), id.clone());
        async move {
            let named = id.clone();
            let loaded = tokio::task::spawn_blocking(move || templates.load(&id)).await.ok()?;
            loaded
                .inspect_err(|error| tracing::warn!(template_id = %named, %error, "a session has no template"))
                .ok()
        }
        .boxed()
    }
}
