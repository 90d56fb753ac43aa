//! Bounds on the bytes that one connection makes the hub keep.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::{
    cut_metric, metric,
    polled::Polled,
    raw::{self, RawSocket},
    soon, until_metric,
};
use crate::support::TestHub;

/// Bytes of a flood by which the hub must have cut the connection: far more than the buffers of both ends.
const FLOOD_BYTES: usize = 64 * 1024 * 1024;

/// Largest number of bytes that wait to be written to one websocket: 64 KiB.
const UNWRITTEN_BYTES_MAX: u64 = 65_536;

/// Sends bytes repeatedly to a hub without reading from it, until the hub cuts the connection. Returns the largest
/// number of unwritten bytes meanwhile.
async fn flood(hub: &TestHub, mut stream: tokio::net::TcpStream, bytes: Vec<u8>) -> u64 {
    let is_cut = Arc::new(AtomicBool::new(false));
    let flooding = tokio::spawn({
        let is_cut = Arc::clone(&is_cut);
        async move {
            let mut sent = 0;
            while stream.write_all(&bytes).await.is_ok() {
                sent += bytes.len();
                assert!(sent < FLOOD_BYTES, "the hub goes on reading");
            }
            is_cut.store(true, Ordering::Relaxed);
        }
    });
    let mut most = 0;
    let watched = async {
        while !is_cut.load(Ordering::Relaxed) {
            most = metric(hub, "hub_sockets_unwritten_bytes").await.max(most);
            assert!(
                !flooding.is_finished() || is_cut.load(Ordering::Relaxed),
                "the flood failed"
            );
        }
    };
    soon("the flood is cut", watched).await;
    flooding.await.expect("the flood is stopped by the hub");
    most
}

/// P7, P9: a peer that sends websocket pings before it joins, and never reads, has bounded bytes wait for it, and is
/// cut after `write_stall_ms`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_pings_without_reading_are_bounded_and_cut() {
    let hub = TestHub::with(|config| config.realtime.write_stall_ms = 1_000).await;
    let stream = raw::stream(&hub.url).await;
    let pings = raw::frame(0x89, &[b'p'; 125]).repeat(500);
    let most = flood(&hub, stream, pings).await;
    assert!((1..=UNWRITTEN_BYTES_MAX).contains(&most), "{most} bytes waited");
    until_metric(&hub, &cut_metric("not_reading"), |count| count == 1).await;
    until_metric(&hub, "hub_sockets_unwritten_bytes", |bytes| bytes == 0).await;
}

/// P7, P9: a peer whose packets are refused, and that never reads, is bounded and cut. The refusals repeat the names of
/// unknown namespaces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_packets_without_reading_are_bounded_and_cut() {
    let hub = TestHub::with(|config| config.realtime.write_stall_ms = 1_000).await;
    let stream = raw::stream(&hub.url).await;
    let packet = format!("40/{},", "n".repeat(200));
    let most = flood(&hub, stream, raw::frame(0x81, packet.as_bytes()).repeat(300)).await;
    assert!((1..=UNWRITTEN_BYTES_MAX).contains(&most), "{most} bytes waited");
    until_metric(&hub, &cut_metric("not_reading"), |count| count == 1).await;
}

/// P7, P9: a subscriber that never reads its acknowledgements is bounded and cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_without_reading_are_bounded_and_cut() {
    let hub = TestHub::with(|config| config.realtime.write_stall_ms = 1_000).await;
    let session = hub.session().await;
    let mut stream = raw::stream(&hub.url).await;
    let auth = json!({ "session_id": session });
    let connect = raw::frame(0x81, format!("40/graph,{auth}").as_bytes());
    stream.write_all(&connect).await.expect("the hub reads");
    until_metric(&hub, "hub_connections", |count| count == 1).await;
    let nothing = raw::frame(
        0x81,
        br#"42/graph,7["command:execute",{"command_type":"CreateNode","data":{}}]"#,
    );
    let most = flood(&hub, stream, nothing.repeat(500)).await;
    assert!((1..=UNWRITTEN_BYTES_MAX).contains(&most), "{most} bytes waited");
    until_metric(&hub, &cut_metric("not_reading"), |count| count == 1).await;
    until_metric(&hub, "hub_connections", |count| count == 0).await;
}

/// P1, P2: a client that reads late gets every event whole and in order, and the answers to its pings between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_readers_get_whole_events_in_order() {
    const COMMANDS: u64 = 150;
    let hub = TestHub::with(|config| {
        // The timeouts are longer than the commands take on any machine.
        config.realtime.write_stall_ms = 600_000;
        config.realtime.ping_timeout_ms = 600_000;
    })
    .await;
    let session = hub.session().await;
    let mut late = RawSocket::join(&hub.url, &session).await;
    // The events are more than the buffers of a connection hold, and less than a slow consumer's queue.
    let name = "n".repeat(500);
    let mut last = 0;
    for number in 0..COMMANDS {
        let data = json!({"blueprint_type_id": "task", "name": name, "properties": {"text": "x".repeat(30_000)}});
        last = hub.execute(&session, "CreateNode", data).await.ok()["seq"]
            .as_u64()
            .expect("a seq");
        let ping = Message::Ping(number.to_be_bytes().to_vec().into());
        late.0.send(ping).await.expect("the hub reads");
    }
    let mut expected = 0;
    loop {
        let seq = soon("an event", late.executed()).await;
        assert!(seq > expected, "{seq} after {expected}");
        expected = seq;
        if seq == last {
            return;
        }
    }
}

/// P9: a message over the limit closes its websocket with code 1009 and a reason, in one frame or in several. Other
/// sockets are not affected.
#[tokio::test]
async fn large_messages_are_closed_with_1009() {
    let hub = TestHub::with(|config| config.realtime.message_bytes_max = 10_000).await;
    let session = hub.session().await;
    let mut other = RawSocket::join(&hub.url, &session).await;
    let mut large = RawSocket::join(&hub.url, &session).await;
    large.send(&"4".repeat(10_001)).await;
    let reason = "a message has at most 10000 bytes (realtime.message_bytes_max)".to_owned();
    assert_eq!(
        soon("the websocket is closed", large.closed()).await,
        (1009, reason.clone())
    );

    // The hub must decide by the header alone, because the payload never comes.
    let mut announced = raw::stream(&hub.url).await;
    announced
        .write_all(&raw::header(0x81, 10_001))
        .await
        .expect("the hub reads");
    let mut fragmented = raw::stream(&hub.url).await;
    fragmented
        .write_all(&raw::frame(0x01, &[b'4'; 6_000]))
        .await
        .expect("the hub reads");
    fragmented
        .write_all(&raw::frame(0x80, &[b'4'; 6_000]))
        .await
        .expect("the hub reads");
    for mut stream in [announced, fragmented] {
        let mut read = Vec::new();
        soon("the websocket is closed", stream.read_to_end(&mut read))
            .await
            .expect("no reset");
        let mut close = vec![0x88, u8::try_from(reason.len() + 2).expect("short"), 0x03, 0xf1];
        close.extend_from_slice(reason.as_bytes());
        assert!(read.ends_with(&close), "{}", String::from_utf8_lossy(&read));
    }
    until_metric(&hub, &cut_metric("message_too_large"), |count| count == 3).await;
    until_metric(&hub, "hub_connections", |count| count == 1).await;
    hub.create_node(&session, None, "a").await;
    soon("an event", other.executed()).await;
}

/// P9: unfinished messages of all connections share one budget of bytes, and give their share back when they end.
#[tokio::test]
async fn unfinished_messages_share_one_byte_budget() {
    let hub = TestHub::with(|config| {
        config.server.receiving_bytes_max = 4 * 1024 * 1024;
        config.realtime.message_bytes_max = 2 * 1024 * 1024;
    })
    .await;
    let unfinished = [raw::header(0x81, 2_000_000), vec![b'4'; 1_500_000]].concat();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = raw::stream(&hub.url).await;
        stream.write_all(&unfinished).await.expect("the hub reads or drops");
        streams.push(stream);
    }
    let refused = cut_metric("receiving_full");
    until_metric(&hub, &refused, |count| count >= 1).await;
    drop(streams);
    let session = hub.session().await;
    let whole = format!(
        "42/graph,1[\"presence:update\",{{\"state\":\"{}\"}}]",
        "x".repeat(1_500_000)
    );
    // The bytes are free as soon as the hub has noticed that the connections are closed.
    let accepted = async {
        loop {
            let mut socket = RawSocket::join(&hub.url, &session).await;
            let _ = socket.0.send(Message::text(whole.clone())).await;
            if let Some(answer) = socket.try_ack(1).await {
                return answer;
            }
        }
    };
    let answer = soon("an answer", accepted).await;
    assert_eq!(answer["error"]["code"], "LIMIT_EXCEEDED", "{answer}");
}

/// P9: a message without an end closes its websocket with a reason after `message_timeout_ms`: one frame, several, or
/// half a header.
#[tokio::test]
async fn endless_messages_are_closed_with_a_reason() {
    let hub = TestHub::with(|config| config.realtime.message_timeout_ms = 300).await;
    for begun in [
        raw::header(0x81, 100),
        raw::frame(0x01, b"4"),
        [raw::frame(0x01, b"4"), raw::frame(0x89, b"ping")].concat(),
        vec![0x81],
    ] {
        let mut stream = raw::stream(&hub.url).await;
        stream.write_all(&begun).await.expect("the hub reads");
        let mut read = Vec::new();
        soon("the websocket is closed", stream.read_to_end(&mut read))
            .await
            .expect("no reset");
        let reason = b"a message is finished within 300 ms (realtime.message_timeout_ms)";
        assert!(read.ends_with(reason), "{}", String::from_utf8_lossy(&read));
    }
    assert_eq!(metric(&hub, &cut_metric("message_timeout")).await, 4);
}

/// P9: a post over the limit, and one that never ends, is refused, and its session continues to poll.
#[tokio::test]
async fn posts_are_bounded_in_size_and_time() {
    let hub = TestHub::with(|config| {
        config.realtime.message_bytes_max = 10_000;
        config.realtime.message_timeout_ms = 300;
    })
    .await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    let (status, body) = polled.post("4".repeat(10_001)).await;
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("PAYLOAD_TOO_LARGE"), "{body}");
    let address = hub.url.strip_prefix("http://").expect("an http address");
    let mut endless = tokio::net::TcpStream::connect(address).await.expect("the hub accepts");
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n4",
        polled.sid
    );
    endless.write_all(head.as_bytes()).await.expect("the hub reads");
    let mut answer = [0; 12];
    soon("an answer", endless.read_exact(&mut answer))
        .await
        .expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
    hub.create_node(&session, None, "a").await;
    soon("an event", polled.executed()).await;
}

/// P9: connect packets are limited far below `message_bytes_max`. The hub neither repeats a long namespace nor keeps a
/// large auth payload.
#[tokio::test]
async fn connect_packets_are_bounded() {
    const NAME_BYTES: usize = 100_000;
    const PACKETS: usize = 100;
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    for _ in 0..PACKETS {
        assert_eq!(polled.post(format!("40/{},", "n".repeat(NAME_BYTES))).await.0, 200);
    }
    assert_eq!(polled.post("42/graph,1[\"command:undo\",{}]").await.0, 200);
    let (mut bytes, mut refused) = (0, 0);
    loop {
        let packet = soon("a packet", polled.packet()).await;
        if packet.starts_with("43/graph,1[") {
            break;
        }
        bytes += packet.len();
        refused += usize::from(packet.starts_with("44/nnn"));
    }
    assert_eq!(refused, PACKETS);
    assert!(bytes < PACKETS * 500, "{bytes} bytes waited");

    let auth = json!({ "session_id": session, "more": "x".repeat(20_000) });
    let mut websocket = RawSocket::open(&hub.url).await;
    websocket.send(&format!("40/graph,{auth}")).await;
    let mut polled = Polled::open(&hub).await;
    assert_eq!(polled.post(format!("40/graph,{auth}")).await.0, 200);
    let refusal = r#"44/graph,{"message":"PAYLOAD_TOO_LARGE"}"#;
    assert!(websocket.packet().await.starts_with("0{"));
    assert_eq!(soon("a refusal", websocket.packet()).await, refusal);
    assert_eq!(soon("a refusal", polled.packet()).await, refusal);
    // The client may connect again with a smaller payload.
    let auth = json!({ "session_id": session });
    websocket.send(&format!("40/graph,{auth}")).await;
    soon("a sync", async { while websocket.event().await.0 != "session:sync" {} }).await;
}
