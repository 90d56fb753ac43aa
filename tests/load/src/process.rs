//! What a process has used, as Linux tells.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// How many ticks of `/proc/PID/stat` are a second: what Linux tells everybody, whatever its own clock does.
const TICKS_PER_SECOND: u32 = 100;

/// Where the time in the program stands in `/proc/PID/stat`, counted behind the name, which may have spaces and ends
/// with the last parenthesis. The time in the kernel is next to it.
const USER_TIME_AT: usize = 11;

/// What a process has used up to now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Time on any processor, in the program and in the kernel.
    pub(crate) cpu: Duration,
    /// Memory that is resident, in KiB.
    pub(crate) rss_kib: u64,
    /// The most that ever was.
    pub(crate) rss_peak_kib: u64,
}

impl Sample {
    /// Looks at a process.
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
