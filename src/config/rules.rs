//! Rules for values beyond their type.
//!
//! The suffix of a key's name determines the range of a number, so that every new key has a range.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use clap::ValueEnum;

use super::Config;
use super::fault::Fault;
use super::log_filter::log_filter;
use super::network;
use super::origin;
use super::sections::{LogFormat, Storage};
use super::setting::Setting;

/// 30 days in milliseconds: above every useful duration, and below the point where adding to a clock overflows.
const MILLISECONDS_MAX: i64 = 30 * 24 * 60 * 60 * 1000;
/// 1 GiB: representable as a size on a machine of 32 bits.
const BYTES_MAX: i64 = 1 << 30;
/// Upper bound of counts: below the largest semaphore of a machine of 32 bits.
const COUNT_MAX: i64 = 100_000_000;

/// Upper bound of threads: more than the processors of the largest machine, beyond which threads add no speed.
const WORKER_THREADS_MAX: i64 = 1024;

/// Checks one value on its own. `Err` names the allowed values.
pub(super) fn check(key: &str, setting: &Setting) -> Result<(), String> {
    match setting {
        Setting::Boolean(_) => Ok(()),
        Setting::Integer(value) => check_range(*value, range(key)),
        Setting::Text(text) => check_text(key, text),
        Setting::List(items) if key == "server.hosts" => items.iter().try_for_each(|item| check_name(item)),
        Setting::List(items) if key == "server.trusted_proxies" => {
            items.iter().try_for_each(|item| network::check(item))
        }
        Setting::List(items) => items.iter().try_for_each(|item| origin::check(item)),
    }
}

/// Checks the rules that involve two values.
pub(super) fn contradictions(config: &Config) -> Vec<Fault> {
    let (server, rest, realtime) = (&config.server, &config.rest, &config.realtime);
    let receiving = ("server.receiving_bytes_max", server.receiving_bytes_max as u64);
    let ordered = [
        at_most(("server.body_bytes_max", server.body_bytes_max as u64), receiving),
        at_most(
            ("realtime.message_bytes_max", realtime.message_bytes_max as u64),
            receiving,
        ),
        at_most(
            ("rest.page_items_default", rest.page_items_default as u64),
            ("rest.page_items_max", rest.page_items_max as u64),
        ),
        at_most(
            ("realtime.reconnect_min_ms", realtime.reconnect_min_ms),
            ("realtime.reconnect_max_ms", realtime.reconnect_max_ms),
        ),
    ];
    ordered.into_iter().flatten().collect()
}

fn at_most((key, value): (&'static str, u64), (other_key, other_value): (&'static str, u64)) -> Option<Fault> {
    (value > other_value).then_some(Fault::Contradiction {
        key,
        value,
        other_key,
        other_value,
    })
}

fn range(key: &str) -> RangeInclusive<i64> {
    match key {
        "server.port" => 0..=i64::from(u16::MAX),
        // Zero: do not wait.
        "server.shutdown_grace_ms" | "rest.min_seq_wait_ms" | "sessions.restart_backoff_ms" => 0..=MILLISECONDS_MAX,
        // Zero: as many as there are processors.
        "server.worker_threads" => 0..=WORKER_THREADS_MAX,
        // Zero: none.
        "limits.command_filter_bytes_max" => 0..=BYTES_MAX,
        "rest.compressions_max" => 0..=COUNT_MAX,
        _ if key.ends_with("_ms") => 1..=MILLISECONDS_MAX,
        _ if key.ends_with("_bytes_max") => 1..=BYTES_MAX,
        _ => 1..=COUNT_MAX,
    }
}

fn check_range(value: i64, range: RangeInclusive<i64>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(format!("must be a whole number from {least} to {most}"))
}

fn check_text(key: &str, text: &str) -> Result<(), String> {
    match key {
        "server.host" => check_host(text),
        "ops.listen" => check_listen(text),
        "log.format" => LogFormat::from_str(text, false)
            .map(drop)
            .map_err(|_| format!("must be one of {}", log_formats())),
        "data.storage" => Storage::from_str(text, false)
            .map(drop)
            .map_err(|_| "must be one of sqlite, memory".to_owned()),
        "server.pages_dir" => Ok(()),
        "log.level" => log_filter(text).map(drop).map_err(|error| error.to_string()),
        // All other text keys are directories.
        _ if text.is_empty() => Err("must be the path of a directory".to_owned()),
        _ => Ok(()),
    }
}

fn log_formats() -> String {
    let words: Vec<&str> = LogFormat::value_variants()
        .iter()
        .map(|format| format.as_str())
        .collect();
    words.join(", ")
}

fn check_host(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        return Ok(());
    }
    Err("must be an IP address (IPv6 without brackets) or a host name, without a port".to_owned())
}

fn check_name(text: &str) -> Result<(), String> {
    let allowed = "must be a host name such as \"hub.example\", without a port and without a wildcard";
    check_host(text).map_err(|_| format!("{text:?} is no host name: each {allowed}"))
}

fn check_listen(text: &str) -> Result<(), String> {
    let by_name = || {
        let (host, port) = text.rsplit_once(':')?;
        (is_host_name(host) && port.parse::<u16>().is_ok()).then_some(())
    };
    if text.is_empty() || text == "auto" || text.parse::<SocketAddr>().is_ok() || by_name().is_some() {
        return Ok(());
    }
    Err("must be an address and a port such as \"127.0.0.1:5001\", or \"auto\", or empty".to_owned())
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A last label of digits is a mistyped IPv4 address: no top-level domain is a number.
    let ends_in_a_number = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !ends_in_a_number && text.split('.').all(is_label)
}
