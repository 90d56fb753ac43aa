//! Resource usage of a process, as reported by Linux.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Unit of times in `/proc/PID/stat`, in ticks a second. Linux reports 100 to every process, whatever its internal
/// clock.
const TICKS_PER_SECOND: u32 = 100;

/// Index of the user time in `/proc/PID/stat`, counted after the name. The name may contain spaces, and ends with the
/// last parenthesis. The system time is the next field.
const USER_TIME_AT: usize = 11;

/// Resource usage of a process since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// User and system time over all processors.
    pub(crate) cpu: Duration,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// Peak of the resident memory in KiB.
    pub(crate) rss_peak_kib: u64,
}

impl Sample {
    /// Reads the usage of a process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).context(path)
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let (_, fields) = stat.rsplit_once(')').context("stat has a name")?;
        let times = fields.split_whitespace().skip(USER_TIME_AT).take(2);
        let ticks = times.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            anyhow::Ok(number.with_context(|| format!("status has no {key}"))?.parse::<u64>()?)
        };
        Ok(Self {
            cpu: Duration::from_secs(1) * ticks / TICKS_PER_SECOND,
            rss_kib: kib("VmRSS:")?,
            rss_peak_kib: kib("VmHWM:")?,
        })
    }
}
