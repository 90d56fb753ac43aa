//! Filter of log lines: the syntax of `log.level`.

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Error of a `log.level` that is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{directive:?} must be a level (off, error, warn, info, debug, trace) or module=level, separated by commas")]
pub struct FilterError {
    /// Directive that is wrong.
    pub directive: String,
}

/// Libraries that are silent unless `log.level` names them. They log payloads, and write a line at ERROR for packets
/// that any client can send at any rate. Contents of clients do not belong into the log, and no client may fill the
/// log.
const SILENCED_LIBRARIES: [&str; 2] = ["engineioxide", "socketioxide"];

/// Parses a filter such as `info` or `warn,talus_hub=debug`, in the syntax of [`EnvFilter`] with one exception: a word
/// without `=` must be a level. `EnvFilter` takes any other word for a module, so that `inof` would disable nearly all
/// logging.
///
/// # Errors
///
/// Returns the first part of `level` that is not a directive.
pub fn log_filter(level: &str) -> Result<EnvFilter, FilterError> {
    let wrong = |directive: &str| FilterError {
        directive: directive.to_owned(),
    };
    for directive in level.split(',') {
        let is_level = directive.parse::<LevelFilter>().is_ok() && !directive.is_empty();
        let is_pair = directive.contains(['=', '[']) && !directive.contains(char::is_whitespace);
        if !is_level && !is_pair {
            return Err(wrong(directive));
        }
        EnvFilter::builder().parse(directive).map_err(|_| wrong(directive))?;
    }
    let mut filter = EnvFilter::builder().parse(level).map_err(|_| wrong(level))?;
    for library in SILENCED_LIBRARIES
        .into_iter()
        .filter(|library| !level.contains(library))
    {
        filter = filter.add_directive(format!("{library}=off").parse().map_err(|_| wrong(level))?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filter_accepts_levels_and_modules() {
        for level in [
            "info",
            "OFF",
            "trace",
            "info,talus_hub=debug",
            "talus_hub::hub=trace",
            "[command{kind=MoveNode}]=debug",
        ] {
            assert!(log_filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn log_filter_refuses_misspelt_levels() {
        for (level, directive) in [
            ("", ""),
            ("inof", "inof"),
            ("info,", ""),
            ("info, talus_hub=debug", " talus_hub=debug"),
            ("info,talus_hub=loud", "talus_hub=loud"),
            ("info,talus_hub", "talus_hub"),
        ] {
            let error = log_filter(level).expect_err(level);
            assert_eq!(error.directive, directive, "{level:?}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
