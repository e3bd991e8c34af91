//! What a run leaves on disk and reads back: the result directory, rates as Parquet, and snapshots. The only user of
//! polars. Knows file formats and how to write them safely; nothing of detection.

pub mod mutes;
pub mod rates;
mod result;
pub mod state;
pub mod table;

use std::io;

use thiserror::Error;

pub(crate) use result::insight_key;
pub use result::{
    Account, Gap, Objects, RecordCounts, ResultDir, SummaryFile, Timings, read_insights, read_summary, write_summary,
};

/// Why something cannot be stored or read back.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{path} is not empty; name another directory, or add --force to replace its results")]
    NotEmpty { path: String },
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path}: {source}")]
    Parquet { path: String, source: polars::error::PolarsError },
    #[error("{path}, line {line}: {source}")]
    Json { path: String, line: usize, source: serde_json::Error },
    #[error("{path}: {reason}")]
    Damaged { path: String, reason: String },
}
