//! Metrics for operators, in a registry that belongs to one hub: two hubs in one process do not share metrics.
//!
//! Each label value makes a time series that lives as long as the process, so no label value may be chosen by a client
//! (P9). The types enforce the rule: names are `&'static str`, a route is the pattern of the router, and a method is
//! one of the known methods.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Media type of the output of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Prefix of every metric name, those of collectors included. An underscore follows.
const PREFIX: &str = "hub";

/// Upper bounds of the buckets for the duration of a command, in seconds. They range from 0.1 ms, the time of a command
/// without contention, to 5 s, after which every client has given up. Each bound is about twice the bound before.
const SECONDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Label of a request that no route matches. The path of that request is the client's choice.
const UNMATCHED: &str = "unmatched";

/// Handle to the hub's metrics. Clones share the registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    commands: Family<CommandOutcome, Counter>,
    command_seconds: Family<CommandType, Histogram, fn() -> Histogram>,
    http_requests: Family<Request, Counter>,
    recovery_seconds: Histogram,
    open_connections: Family<ListenerName, Gauge>,
    receiving_bytes: Gauge,
    refused_connections: Family<RefusedConnection, Counter>,
    expired_connections: Family<ExpiredConnection, Counter>,
    sockets_cut: Family<DisconnectLabel, Counter>,
    upgrades_given_up: Counter,
    unwritten_bytes: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerName {
    listener: &'static str,
}

/// Guard that counts one open connection until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Reason for which the hub ends a client's connection or refuses a client's post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectCause {
    /// The client took none of the bytes that waited to be written.
    NotReading,
    /// A message exceeds its size limit.
    MessageTooLarge,
    /// A message was not complete in time.
    MessageTimeout,
    /// Incomplete messages use up the budget of received bytes.
    ReceivingFull,
    /// The client violated the WebSocket protocol.
    Protocol,
}

impl EncodeLabelValue for DisconnectCause {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let word = match self {
            Self::NotReading => "not_reading",
            Self::MessageTooLarge => "message_too_large",
            Self::MessageTimeout => "message_timeout",
            Self::ReceivingFull => "receiving_full",
            Self::Protocol => "protocol",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedConnection {
    listener: &'static str,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpiredConnection {
    listener: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DisconnectLabel {
    reason: DisconnectCause,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandOutcome {
    command_type: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandType {
    command_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

impl Metrics {
    /// Creates metrics without observations. `register` adds the metrics of other parts, under the same prefix `hub_`.
    #[must_use]
    pub fn new(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        register(&mut registry);
        let commands = Family::default();
        registry.register(
            "commands",
            "Commands by type and outcome: ok, duplicate, or the error code",
            commands.clone(),
        );
        let command_seconds: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(|| Histogram::new(SECONDS));
        registry.register_with_unit(
            "command",
            "Time from a command's arrival to its answer",
            Unit::Seconds,
            command_seconds.clone(),
        );
        let http_requests = Family::default();
        registry.register(
            "http_requests",
            "HTTP requests by method, route and status",
            http_requests.clone(),
        );
        let recovery_seconds = Histogram::new(SECONDS);
        registry.register_with_unit(
            "session_recovery",
            "Time from a session's failure to its recovery",
            Unit::Seconds,
            recovery_seconds.clone(),
        );
        let open_connections = Family::default();
        registry.register(
            "open_connections",
            "Open connections by listener",
            open_connections.clone(),
        );
        let receiving_bytes = Gauge::default();
        registry.register(
            "receiving_bytes",
            "Bytes of incomplete requests and messages",
            receiving_bytes.clone(),
        );
        let refused_connections = Family::default();
        registry.register(
            "connections_refused",
            "Connections and requests refused by a limit, by listener and limit",
            refused_connections.clone(),
        );
        let expired_connections = Family::default();
        registry.register(
            "connections_timed_out",
            "Connections closed because of a timeout, by listener and kind",
            expired_connections.clone(),
        );
        let sockets_cut = Family::default();
        registry.register(
            "sockets_cut",
            "Connections of clients closed by the hub, by reason",
            sockets_cut.clone(),
        );
        let upgrades_given_up = Counter::default();
        registry.register(
            "upgrades_given_up",
            "Failed upgrades of polling clients to a websocket",
            upgrades_given_up.clone(),
        );
        let unwritten_bytes = Gauge::default();
        registry.register(
            "sockets_unwritten_bytes",
            "Bytes that wait to be written to websockets",
            unwritten_bytes.clone(),
        );
        Self {
            shared: Arc::new(Shared {
                registry,
                commands,
                command_seconds,
                http_requests,
                recovery_seconds,
                open_connections,
                receiving_bytes,
                refused_connections,
                expired_connections,
                sockets_cut,
                upgrades_given_up,
                unwritten_bytes,
            }),
        }
    }

    /// Counts a command and records the time to its answer. `outcome` is `ok`, `duplicate`, or the error code.
    pub fn observe_command(&self, command_type: &'static str, outcome: &'static str, elapsed: Duration) {
        self.shared
            .commands
            .get_or_create(&CommandOutcome { command_type, outcome })
            .inc();
        self.shared
            .command_seconds
            .get_or_create(&CommandType { command_type })
            .observe(elapsed.as_secs_f64());
    }

    /// Records the time from a session's failure to its recovery.
    pub fn observe_recovery(&self, elapsed: Duration) {
        self.shared.recovery_seconds.observe(elapsed.as_secs_f64());
    }

    /// Counts an open connection until the returned guard is dropped.
    #[must_use]
    pub fn connection_opened(&self, listener: &'static str) -> OpenConnection {
        let open = self
            .shared
            .open_connections
            .get_or_create(&ListenerName { listener })
            .clone();
        open.inc();
        OpenConnection(open)
    }

    /// Sets the number of bytes that are being received. The caller reads the number at each scrape.
    pub fn observe_receiving(&self, bytes: usize) {
        self.shared
            .receiving_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a connection, or a request on a connection, that a limit on connections refused.
    pub fn observe_refused_connection(&self, listener: &'static str, limit: &'static str) {
        let refused = RefusedConnection { listener, limit };
        self.shared.refused_connections.get_or_create(&refused).inc();
    }

    /// Counts a connection that was closed because its peer exceeded a timeout.
    pub fn observe_expired_connection(&self, listener: &'static str, kind: &'static str) {
        let expired = ExpiredConnection { listener, kind };
        self.shared.expired_connections.get_or_create(&expired).inc();
    }

    /// Counts a connection that the hub ended.
    pub fn observe_disconnect(&self, reason: DisconnectCause) {
        self.shared.sockets_cut.get_or_create(&DisconnectLabel { reason }).inc();
    }

    /// Counts an upgrade to a websocket that did not succeed.
    pub fn observe_failed_upgrade(&self) {
        self.shared.upgrades_given_up.inc();
    }

    /// Returns the gauge of bytes that wait to be written to websockets.
    #[must_use]
    pub fn unwritten_bytes(&self) -> Gauge {
        self.shared.unwritten_bytes.clone()
    }

    /// Counts an answered HTTP request. `route` is the matched pattern (`/sessions/{id}`); `None`: no route matched.
    pub fn observe_request(&self, method: &Method, route: Option<&MatchedPath>, status: StatusCode) {
        let route = route.map_or(UNMATCHED, MatchedPath::as_str).to_owned();
        let request = Request {
            method: known_method(method),
            route,
            status: status.as_u16(),
        };
        self.shared.http_requests.get_or_create(&request).inc();
    }

    /// Renders all metrics as OpenMetrics text, to be served as [`CONTENT_TYPE`].
    ///
    /// # Errors
    ///
    /// Returns an error if a collector fails.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.shared.registry)?;
        Ok(out)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

/// Returns the label of a method. Unknown methods share one label, since HTTP lets a client invent methods.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request as HttpRequest;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
    use prometheus_client::metrics::gauge::ConstGauge;
    use tower::ServiceExt as _;

    use super::*;

    fn rendered(metrics: &Metrics) -> String {
        metrics.render().expect("the metrics can be written")
    }

    fn assert_has_line(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
    }

    /// Collector of one gauge, in the place of the collectors of other parts of the hub.
    #[derive(Debug)]
    struct Seven;

    impl Collector for Seven {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            let gauge = ConstGauge::new(7_i64);
            gauge.encode(encoder.encode_descriptor("sessions", "Sessions", None, gauge.metric_type())?)
        }
    }

    #[derive(Debug)]
    struct Failing;

    impl Collector for Failing {
        fn encode(&self, _: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            Err(fmt::Error)
        }
    }

    #[test]
    fn commands_are_counted_by_type_and_outcome() {
        let metrics = Metrics::default();
        metrics.observe_command("CreateNode", "ok", Duration::from_millis(1));
        metrics
            .clone()
            .observe_command("CreateNode", "ok", Duration::from_millis(1));
        metrics.observe_command("CreateNode", "NODE_EXISTS", Duration::from_millis(1));
        let text = rendered(&metrics);
        assert_has_line(&text, r#"hub_commands_total{command_type="CreateNode",outcome="ok"} 2"#);
        assert_has_line(
            &text,
            r#"hub_commands_total{command_type="CreateNode",outcome="NODE_EXISTS"} 1"#,
        );
    }

    #[test]
    fn command_seconds_fall_into_buckets() {
        let metrics = Metrics::default();
        metrics.observe_command("MoveNode", "ok", Duration::from_micros(50));
        metrics.observe_command("MoveNode", "CYCLE", Duration::from_millis(3));
        metrics.observe_command("MoveNode", "ok", Duration::from_secs(60));
        let text = rendered(&metrics);
        for (bound, count) in [("0.0001", 1), ("0.0025", 1), ("0.005", 2), ("5.0", 2), ("+Inf", 3)] {
            let line = format!(r#"hub_command_seconds_bucket{{le="{bound}",command_type="MoveNode"}} {count}"#);
            assert_has_line(&text, &line);
        }
        assert_has_line(&text, r#"hub_command_seconds_count{command_type="MoveNode"} 3"#);
    }

    #[tokio::test]
    async fn requests_are_counted_by_route_pattern() {
        let metrics = Metrics::default();
        let counted = metrics.clone();
        let count = from_fn(move |request: HttpRequest, next: Next| {
            let metrics = counted.clone();
            async move {
                let (method, route) = (
                    request.method().clone(),
                    request.extensions().get::<MatchedPath>().cloned(),
                );
                let response = next.run(request).await;
                metrics.observe_request(&method, route.as_ref(), response.status());
                response
            }
        });
        let router = Router::new().route("/sessions/{id}", get(|| async {})).layer(count);
        for (method, path) in [
            ("GET", "/sessions/1"),
            ("GET", "/sessions/2"),
            ("BREW", "/sessions/1"),
            ("GET", "/a"),
            ("GET", "/b"),
        ] {
            let request = HttpRequest::builder()
                .method(method)
                .uri(path)
                .body(Body::empty())
                .expect("a valid request");
            router.clone().oneshot(request).await.expect("a router always answers");
        }
        let text = rendered(&metrics);
        assert_has_line(
            &text,
            r#"hub_http_requests_total{method="GET",route="/sessions/{id}",status="200"} 2"#,
        );
        assert_has_line(
            &text,
            r#"hub_http_requests_total{method="other",route="/sessions/{id}",status="405"} 1"#,
        );
        assert_has_line(
            &text,
            r#"hub_http_requests_total{method="GET",route="unmatched",status="404"} 2"#,
        );
    }

    #[test]
    fn metric_names_have_the_prefix() {
        let metrics = Metrics::new(|registry| registry.register_collector(Box::new(Seven)));
        metrics.observe_command("CreateNode", "ok", Duration::ZERO);
        metrics.observe_request(&Method::GET, None, StatusCode::NOT_FOUND);
        let text = rendered(&metrics);
        assert_has_line(&text, "hub_sessions 7");
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(samples.len() > SECONDS.len(), "all families are there: {text}");
        assert!(samples.iter().all(|line| line.starts_with("hub_")), "{text}");
    }

    #[test]
    fn rendered_metrics_end_with_eof() {
        assert!(rendered(&Metrics::default()).ends_with("# EOF\n"));
    }

    #[test]
    fn failing_collector_fails_the_rendering() {
        let metrics = Metrics::new(|registry| registry.register_collector(Box::new(Failing)));
        assert_eq!(metrics.render(), Err(fmt::Error));
    }

    #[test]
    fn metrics_of_two_hubs_are_separate() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.observe_command("CreateNode", "ok", Duration::ZERO);
        assert!(!rendered(&other).contains("CreateNode"));
    }
}
