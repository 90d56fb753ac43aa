//! The hub as a whole: the parts that it starts, its listeners and its shutdown.

mod collector;
mod shutdown;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    middleware::{from_fn_with_state, map_response},
};
use futures_util::{FutureExt, future::BoxFuture};
use socket2::SockRef;
use talus_actors::{
    domain::{blueprint::Blueprint, ids::TemplateId, limits::Limits},
    fan_out::Encoder,
    hub::{Hub, HubParts, HubSettings, RoomSettings},
    log::{EventLog, LogError, MemoryLog},
    session_actor::BlueprintSource,
    session_supervisor::SupervisionSettings,
    stats::Stats,
    supervision::SupervisionEvent,
};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config, Storage},
    http::{pages::check_readable, routes},
    http_kit::{
        AppContext, AppState, Compression, Reading,
        access::Access,
        layers::{check_draining, with_layers},
    },
    listener::{self, ConnectionLimits, Listener, Timeouts, descriptors::Caps},
    metrics::Metrics,
    ops,
    permits::Permits,
    projects::{ProjectService, ProjectStore},
    socket::{self, Sockets},
    storage::{self, OnFatal, SqliteLog},
    telemetry::LostLines,
    templates::{TemplateSettings, TemplateStore},
    wire::room::{ClientLimits, WireEncoder},
};

pub use shutdown::ServeError;
use shutdown::Server;

/// Error that keeps the hub from starting. Each variant is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {error}")]
    Listen {
        /// Keys of the configuration that name the address.
        key: &'static str,
        /// Address that was to be listened on, as host and port.
        address: String,
        /// Error of the system.
        error: io::Error,
    },
    /// The templates directory cannot be read.
    #[error("templates.dir: {0}")]
    Templates(String),
    /// The directory of static pages (`server.pages_dir`) cannot be read.
    #[error("server.pages_dir: {0}")]
    Pages(String),
    /// The data directory (`data.dir`) cannot be opened or written.
    #[error("data.dir: {0}")]
    Data(String),
    /// The event log cannot be read or started.
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
}

/// Hooks of the process that runs the hub.
pub struct ProcessHooks {
    /// Number of log lines that were lost, exported as a metric.
    pub lost_lines: LostLines,
    /// Called once after a disk failure that makes the state in memory untrustworthy. The hub writes nothing after the
    /// call; the binary ends its process. The default logs the failure.
    pub on_fatal: OnFatal,
}

impl Default for ProcessHooks {
    fn default() -> Self {
        Self {
            lost_lines: LostLines::default(),
            on_fatal: Box::new(|reason| tracing::error!(reason, "the disk failed: start the hub again")),
        }
    }
}

/// A hub whose listeners are bound and that does not serve yet.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    sockets: Option<Sockets>,
    state: AppState,
    sqlite: Option<SqliteLog>,
    ops: Option<(TcpListener, SocketAddr)>,
}

impl App {
    /// Opens the log, the templates and the projects, starts the actors, and binds the listeners.
    ///
    /// # Errors
    /// Returns the first part that cannot be opened, as one line for the operator.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_in(config, ProcessHooks::default()).await
    }

    /// Starts as [`Self::start`] does, with the hooks of the surrounding process.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::start`].
    pub async fn start_in(config: Config, hooks: ProcessHooks) -> Result<Self, StartError> {
        let ProcessHooks { lost_lines, on_fatal } = hooks;
        let config = Arc::new(config);
        let templates = Arc::new(TemplateStore::with_settings(template_settings(&config.templates)));
        templates
            .inspect()
            .map_err(|error| StartError::Templates(error.to_string()))?;
        let pages_dir = &config.server.pages_dir;
        if !pages_dir.as_os_str().is_empty() {
            check_readable(pages_dir).map_err(StartError::Pages)?;
        }
        let projects = ProjectStore::open(config.projects_dir(), config.projects.file_bytes_max)
            .map_err(|error| StartError::Data(error.to_string()))?;
        let (log, sqlite) = open_log(&config, on_fatal)?;
        let losses = sqlite.as_ref().map(SqliteLog::losses).unwrap_or_default();
        let stats = Arc::new(Stats::default());
        let limits = limits(&config.limits);
        let hub = start_hub(&config, limits.clone(), log, Arc::clone(&templates), Arc::clone(&stats)).await?;
        let reading = Reading::new(&config.rest);
        let metrics = Metrics::new(|registry| {
            stats.register(registry);
            collector::register_losses(registry, losses);
            registry.register_collector(Box::new(collector::ScrapedValues {
                lost_lines,
                reading: reading.clone(),
            }));
        });
        let limits = Arc::new(limits);
        let projects = ProjectService {
            hub: hub.clone(),
            store: Arc::new(projects),
            templates: Arc::clone(&templates),
            documents: reading.documents(),
            limits: Arc::clone(&limits),
            config: Arc::clone(&config),
            metrics: metrics.clone(),
        };
        let state = AppState::new(AppContext {
            hub,
            limits,
            templates,
            projects,
            receiving: Permits::new(config.server.receiving_bytes_max),
            reading,
            compression: Compression::new(&config.rest),
            streams: Permits::new(config.rest.streams_max),
            listeners: Permits::new(config.ops.listeners_max),
            stop: CancellationToken::new(),
            started: std::time::Instant::now(),
            losses,
            config,
            metrics,
        });
        tokio::spawn(record_recoveries(state.hub.supervision_events(), state.metrics.clone()));
        let (host, port) = (&state.config.server.host, state.config.server.port);
        let (listener, address) = listen("server.host, server.port", &format_address(host, port)).await?;
        let ops = bind_ops_listener(&state.config.ops.listen).await?;
        let (router, sockets) = router(&state, address.port());
        Ok(Self {
            listener,
            address,
            router,
            sockets,
            state,
            sqlite,
            ops,
        })
    }

    /// Address of the clients' listener, with the port that the system chose for port 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address of the operators' listener. `None`: `ops.listen` is empty.
    #[must_use]
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `stop` resolves, then shuts down in order: refuses new work, finishes the work under way, notifies
    /// the sockets and closes them, then cuts the connections that are left.
    ///
    /// # Errors
    /// Returns an error if the shutdown takes longer than its grace, or if the root of the actors or the writer of the
    /// log fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let Self {
            listener,
            router,
            sockets,
            state,
            sqlite,
            ops,
            ..
        } = self;
        let caps = Caps::new(&state.config);
        caps.log(&state.config);
        let connections = CancellationToken::new();
        let listener = Listener::new(
            listener,
            connections.clone(),
            connection_limits(&state.config, caps.clients),
            listener_settings("clients", &state),
        );
        let clients = Server::start(listener, router);
        let operators = ops.map(|(listener, _)| {
            let timeout = Some(state.config.server.request_timeout());
            let routes = with_layers(
                ops::routes(state.clone()),
                &state,
                Access::to_operations(&state.config),
                timeout,
            );
            let listener = Listener::new(
                listener,
                connections.clone(),
                connection_limits(&state.config, caps.operators),
                listener_settings("operators", &state),
            );
            Server::start(listener, routes)
        });
        // Three things end the serving: a signal, an operator's request, and a failure that no part inside can mend.
        tokio::select! {
            () = stop => state.stop.cancel(),
            () = state.stop.cancelled() => {}
            () = state.hub.root_ended() => {
                tracing::error!("the supervisor of all sessions failed, ending the process");
                connections.cancel();
                return Err(ServeError::RootFailed);
            }
            () = writer_ended(sqlite.as_ref()) => {
                tracing::error!("the writer of the log failed, ending the process");
                connections.cancel();
                return Err(ServeError::WriterFailed);
            }
        }
        let ended = shutdown::shut_down(&state, sockets, clients, operators, &connections).await;
        if let Some(sqlite) = sqlite {
            sqlite.close().await;
        }
        ended
    }
}

fn connection_limits(config: &Config, connections_max: usize) -> ConnectionLimits {
    let server = &config.server;
    ConnectionLimits::new(
        Permits::new(connections_max),
        server.connections_per_address_max,
        server.trusted_networks(),
    )
}

/// Builds the settings that all connections of one listener share.
fn listener_settings(name: &'static str, state: &AppState) -> listener::Settings {
    let (server, realtime) = (&state.config.server, &state.config.realtime);
    listener::Settings {
        name,
        timeouts: Timeouts::new(server),
        // A dead peer does not answer a ping, so unacknowledged bytes may wait for as long as a ping may take.
        unacknowledged_max: realtime.ping_interval() + realtime.ping_timeout(),
        head_bytes_max: server.head_bytes_max,
        receiving: state.receiving.clone(),
        metrics: state.metrics.clone(),
    }
}

/// Opens the log. The second value is the same log if the log has to be closed at the end.
fn open_log(config: &Config, on_fatal: OnFatal) -> Result<(Arc<dyn EventLog>, Option<SqliteLog>), StartError> {
    match config.data.storage {
        Storage::Sqlite => {
            let options = storage::Options {
                // The text of a record in the log is longer than the record. The limit on decoded records decides what
                // is kept.
                window_bytes_max: Some(config.limits.replay_window_bytes_max.saturating_mul(2)),
                ..storage::Options::default()
            };
            let log = SqliteLog::open(&config.data.dir, &options, on_fatal);
            let log = log.map_err(|error| StartError::Data(error.to_string()))?;
            Ok((Arc::new(log.clone()), Some(log)))
        }
        Storage::Memory => {
            let log = MemoryLog::start().map_err(|error| StartError::Log(LogError::Io(error.to_string())))?;
            Ok((Arc::new(log), None))
        }
    }
}

/// Connections that may wait to be accepted. When all clients connect at once, a connection beyond the limit is retried
/// by its client's kernel after 1 s, 2 s and 4 s. The number is the default of Linux (`net.core.somaxconn`); the kernel
/// applies its own limit if that is lower.
const ACCEPT_BACKLOG: i32 = 4_096;

/// Formats a host and a port as one address, with an IPv6 address in brackets.
fn format_address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Records the time from each session's failure to its recovery.
async fn record_recoveries(mut events: broadcast::Receiver<Arc<SupervisionEvent>>, metrics: Metrics) {
    loop {
        match events.recv().await {
            Ok(event) => {
                if let Some(time) = event.kind.recovery() {
                    metrics.observe_recovery(time);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn writer_ended(sqlite: Option<&SqliteLog>) {
    match sqlite {
        Some(sqlite) => sqlite.writer_ended().await,
        None => std::future::pending().await,
    }
}

/// Default address of the operators' listener.
const OPS_ADDRESS_DEFAULT: &str = "127.0.0.1:5001";

/// Address for the operators' listener while the default address is taken by another hub.
const OPS_ADDRESS_ANY_PORT: &str = "127.0.0.1:0";

/// Binds the operators' listener as `ops.listen` says. An address named by the configuration has to be free. A taken
/// default address does not keep a second hub from starting: the system chooses another port.
async fn bind_ops_listener(address: &str) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    match address {
        "" => Ok(None),
        "auto" => match listen("ops.listen", OPS_ADDRESS_DEFAULT).await {
            Err(StartError::Listen { error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {
                let listening = listen("ops.listen", OPS_ADDRESS_ANY_PORT).await?;
                tracing::warn!(taken = OPS_ADDRESS_DEFAULT, instead = %listening.1, "the default address for operators is taken");
                Ok(Some(listening))
            }
            listening => listening.map(Some),
        },
        address => listen("ops.listen", address).await.map(Some),
    }
}

async fn listen(key: &'static str, address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen {
        key,
        address: address.to_owned(),
        error,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    // The runtime has already called `listen` with a quarter of this backlog. A second call replaces the number.
    SockRef::from(&listener).listen(ACCEPT_BACKLOG).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn router(state: &AppState, port: u16) -> (Router, Option<Sockets>) {
    let timeout = Some(state.config.server.request_timeout());
    let access = Access::to_api(&state.config, port);
    let rest = with_layers(routes(state.clone()), state, access, timeout);
    let realtime = &state.config.realtime;
    if !realtime.enabled {
        return (rest, None);
    }
    let (service, sockets) = socket::service(
        &state.hub,
        realtime,
        &state.config.limits,
        &state.metrics,
        &state.receiving,
    );
    let access = Access::to_sockets(&state.config, port);
    let edge = Router::new()
        .route_service(socket::PATH, service)
        .layer(map_response(socket::tell_errors))
        .layer(from_fn_with_state(state.hub.clone(), check_draining));
    (with_layers(edge, state, access, None).merge(rest), Some(sockets))
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
    let encoder = WireEncoder {
        reconnect_ms,
        limits: ClientLimits {
            message_bytes_max: realtime.message_bytes_max,
            body_bytes_max: config.server.body_bytes_max,
            presence_state_bytes_max: realtime.presence_state_bytes_max,
            batch_commands_max: config.limits.batch_commands_max,
        },
    };
    let encoder = realtime.enabled.then(|| Arc::new(encoder) as Arc<dyn Encoder>);
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
        room: RoomSettings {
            tick_interval: realtime.tick_interval(),
            events_packet_bytes_max: realtime.events_packet_bytes_max,
            sync_bytes_in_flight_max: realtime.sync_bytes_in_flight_max,
            presence_interval: realtime.presence_interval(),
            presence_clients_max: realtime.presence_clients_max,
            deliveries_waiting_max: realtime.room_deliveries_waiting_max,
        },
        in_flight_max: config.limits.in_flight_max,
        group_commands_max: config.limits.group_commands_max,
        snapshot_events: config.sessions.snapshot_events as u64,
        sockets_per_session_max: realtime.sockets_per_session_max,
        command_filter_bytes_max: config.limits.command_filter_bytes_max,
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

/// Builds the settings of the template store. The default directory adds to the built-in templates and may be missing.
/// A directory named by an operator replaces the built-in templates, so it has to exist.
fn template_settings(templates: &config::Templates) -> TemplateSettings {
    TemplateSettings {
        dir: templates.dir.clone(),
        built_in: templates.dir == Config::default().templates.dir,
        file_bytes_max: templates.file_bytes_max as u64,
        files_max: templates.files_max,
    }
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
        replay_window_bytes_max: config.replay_window_bytes_max,
    }
}

/// Reads the templates on disk for sessions that start.
struct Blueprints(Arc<TemplateStore>);

impl BlueprintSource for Blueprints {
    fn blueprint(&self, id: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        let (templates, id) = (Arc::clone(&self.0), id.clone());
        async move {
            let named = id.clone();
            let loaded = tokio::task::spawn_blocking(move || templates.load(&id)).await.ok()?;
            loaded
                .inspect_err(
                    |error| tracing::debug!(template_id = %named, %error, "the template of a session cannot be loaded"),
                )
                .ok()
        }
        .boxed()
    }
}
