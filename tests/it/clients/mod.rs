//! The hub as real clients see it: JavaScript's `socket.io-client` and Python's `python-socketio`, over websocket and
//! long polling. The clients live in processes of their own, which `tests/clients` has.

mod driver;
mod events;
mod install;
mod joining;
mod leaving;
mod resuming;
mod wire;

use self::driver::Told;

/// Makes two tests of each function that takes a transport.
macro_rules! on_both_transports {
    ($($test:ident),+ $(,)?) => {
        mod websocket {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::clients::driver::Transport::Websocket).await;
            })+
        }
        mod polling {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::clients::driver::Transport::Polling).await;
            })+
        }
    };
}
use on_both_transports;

/// The places of the events among what happened, each with its own; those within a `session:sync` are not among them.
fn sequenced(told: &[Told]) -> Vec<u64> {
    let events = told.iter().filter_map(Told::event);
    events
        .filter(|(event, _)| !event.starts_with("session:"))
        .filter_map(|(_, data)| data["seq"].as_u64())
        .collect()
}
