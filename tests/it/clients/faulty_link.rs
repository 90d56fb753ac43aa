//! Link between clients and the hub, which can be cut, fall silent, or hold back websockets.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Traffic that passes the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Everything,
    /// All traffic but websockets, which wait.
    NoWebsocket,
    /// No traffic, and connections stay open: a network that has gone.
    Nothing,
    /// No traffic, and every connection is closed.
    Cut,
}

/// Link to a hub. See the [module](self).
pub struct FaultyLink {
    /// Address for clients, in place of the hub's.
    pub url: String,
    flow: watch::Sender<Flow>,
    accepting: JoinHandle<()>,
}

impl FaultyLink {
    /// Starts a link to a hub.
    pub async fn to(hub_url: &str) -> Self {
        let hub = hub_url.strip_prefix("http://").expect("an http address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let flow = watch::Sender::new(Flow::Everything);
        let flows = flow.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (hub, flow, mut cut) = (hub.clone(), flows.clone(), flows.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(client, hub, flow) => {}
                        _ = cut.wait_for(|flow| *flow == Flow::Cut) => {}
                    }
                });
            }
        });
        Self { url, flow, accepting }
    }

    /// Closes every connection, also new ones, until [`Self::release`].
    pub fn cut(&self) {
        self.flow.send_replace(Flow::Cut);
    }

    /// Stops all traffic, and leaves the connections open.
    pub fn stop(&self) {
        self.flow.send_replace(Flow::Nothing);
    }

    /// Holds back websockets.
    pub fn hold_websockets(&self) {
        self.flow.send_replace(Flow::NoWebsocket);
    }

    /// Lets all traffic pass.
    pub fn release(&self) {
        self.flow.send_replace(Flow::Everything);
    }
}

impl Drop for FaultyLink {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, hub: String, flow: watch::Receiver<Flow>) {
    let Ok(hub) = TcpStream::connect(hub).await else { return };
    for stream in [&client, &hub] {
        stream.set_nodelay(true).expect("a socket has this option");
    }
    let (from_client, to_client) = client.into_split();
    let (from_hub, to_hub) = hub.into_split();
    tokio::join!(pump(from_client, to_hub, flow.clone()), pump(from_hub, to_client, flow));
}

/// Copies the bytes of one direction to its end.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut flow: watch::Receiver<Flow>) {
    let mut buffer = vec![0; 65_536];
    let mut websocket = false;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let chunk = &buffer[..length];
        // The request line names the transport of a connection.
        websocket |= chunk.windows(19).any(|window| window == b"transport=websocket");
        let free = |flow: &Flow| match flow {
            Flow::Everything => true,
            Flow::NoWebsocket => !websocket,
            Flow::Nothing | Flow::Cut => false,
        };
        if flow.wait_for(free).await.is_err() || to.write_all(chunk).await.is_err() {
            return;
        }
    }
    // The end of one side is passed to the other.
    let _ = to.shutdown().await;
}
