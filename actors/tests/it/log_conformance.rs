//! Conformance of the logs of this crate to the contract of [`talus_actors::log::EventLog`].

mod memory {
    use talus_actors::log::MemoryLog;

    async fn log() -> Box<MemoryLog> {
        Box::new(MemoryLog::start().expect("a thread"))
    }

    talus_actors::event_log_conformance!(log);
}

/// The planned log conforms as long as its plan commits every append.
mod planned {
    use std::sync::Arc;

    use talus_actors::log::{MemoryLog, planned::PlannedLog};

    async fn log() -> Box<PlannedLog> {
        let (log, _plan) = PlannedLog::over(Arc::new(MemoryLog::start().expect("a thread")));
        Box::new(log)
    }

    talus_actors::event_log_conformance!(log);
}
