//! The logs that this crate has do what every log must.

mod memory {
    use talus_actors::log::MemoryLog;

    async fn log() -> Box<MemoryLog> {
        Box::new(MemoryLog::start().expect("a thread"))
    }

    talus_actors::event_log_conformance!(log);
}

/// The double is a log like any other as long as its plan says nothing.
mod planned {
    use std::sync::Arc;

    use talus_actors::log::{MemoryLog, planned::PlannedLog};

    async fn log() -> Box<PlannedLog> {
        let (log, _plan) = PlannedLog::over(Arc::new(MemoryLog::start().expect("a thread")));
        Box::new(log)
    }

    talus_actors::event_log_conformance!(log);
}
