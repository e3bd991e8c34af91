//! The result directory of a scan: `insights.jsonl`, `near.jsonl`, `rejects.jsonl`, `summary.json`, `rates/`, `charts/`,
//! `report.html`, or log files in CloudTrail's own layout. Never replaces anything unless told to.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use crate::event::Minute;
use crate::insight::Insight;
use crate::insight::trail::TrailRecord;

/// What a scan leaves; with `--force` these are removed before it begins, and nothing else is.
const OUTPUTS: [&str; 8] =
    ["insights.jsonl", "near.jsonl", "rejects.jsonl", "summary.json", "report.html", "rates", "charts", "AWSLogs"];

/// A directory that belongs to this run.
pub struct ResultDir {
    root: PathBuf,
}

impl ResultDir {
    /// Makes the directory. One that holds anything is refused, or, with `force`, cleared of earlier results.
    pub fn create(root: &Path, force: bool) -> Result<ResultDir, StoreError> {
        let io = |source| StoreError::Io { path: root.display().to_string(), source };
        fs::create_dir_all(root).map_err(io)?;
        if fs::read_dir(root).map_err(io)?.next().is_some() {
            if !force {
                return Err(StoreError::NotEmpty { path: root.display().to_string() });
            }
            for output in OUTPUTS {
                let path = root.join(output);
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                match removed {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path, error)),
                    _ => {}
                }
            }
        }
        Ok(ResultDir { root: root.to_owned() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A file for lines, written as they come.
    pub fn lines(&self, name: &str) -> Result<BufWriter<File>, StoreError> {
        let path = self.path(name);
        Ok(BufWriter::new(File::create(&path).map_err(|error| failed(&path, error))?))
    }

    /// A whole file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        }
        fs::write(&path, bytes).map_err(|error| failed(&path, error))
    }

    /// Insights as CloudTrail delivers them: gzip files of `{"Records":[...]}`, one for each account, Region and
    /// minute in which something became known.
    pub fn write_cloudtrail_s3(&self, insights: &[Insight], strict: bool) -> Result<(), StoreError> {
        let mut sorted: Vec<&Insight> = insights.iter().collect();
        let place = |insight: &Insight| {
            (insight.series.api.account_id.clone(), insight.series.api.region.clone(), insight.decided)
        };
        sorted.sort_by_key(|insight| place(insight));
        for group in sorted.chunk_by(|a, b| place(a) == place(b)) {
            let (account, region, decided) = place(group[0]);
            let records: Vec<TrailRecord> = group.iter().map(|insight| insight.to_record(strict)).collect();
            let name = insight_key(&account, &region, decided, &records[0]);
            let path = self.path(&name);
            let io = |error: io::Error| failed(&path, error);
            fs::create_dir_all(path.parent().unwrap_or(&self.root)).map_err(io)?;
            let mut gzip = GzEncoder::new(File::create(&path).map_err(io)?, Compression::default());
            let body = serde_json::json!({ "Records": records });
            gzip.write_all(body.to_string().as_bytes()).map_err(io)?;
            gzip.finish().and_then(|mut file| file.flush()).map_err(io)?;
        }
        Ok(())
    }
}

/// `AWSLogs/ACCOUNT/CloudTrail-Insight/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail-Insight_REGION_YYYYMMDDTHHmmZ_UNIQUE16.json.gz`;
/// the unique part is derived from the first record, so that a second run writes the same names.
pub(crate) fn insight_key(account: &str, region: &str, decided: Minute, first: &TrailRecord) -> String {
    let time = decided.to_string();
    let (year, month, day, hour, minute) = (&time[0..4], &time[5..7], &time[8..10], &time[11..13], &time[14..16]);
    let unique = Uuid::parse_str(&first.event_id).unwrap_or_default().simple().to_string();
    // A region or account that holds a slash would leave the folder.
    let safe = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
    let (account, region) = (safe(account), safe(region));
    format!(
        "AWSLogs/{account}/CloudTrail-Insight/{region}/{year}/{month}/{day}/\
         {account}_CloudTrail-Insight_{region}_{year}{month}{day}T{hour}{minute}Z_{}.json.gz",
        &unique[..16]
    )
}

fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), source }
}

/// `summary.json`: what was read, what became of it, how complete it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SummaryFile {
    /// Of Highwater.
    pub version: String,
    /// The model that judged.
    pub model: String,
    /// As given, without the program's own path.
    pub command: Vec<String>,
    pub insights: u64,
    pub incidents: u64,
    /// Where every record went: `read` is the sum of all others.
    pub records: RecordCounts,
    pub objects: Objects,
    pub series: u64,
    pub accounts: Vec<Account>,
    pub timings: Timings,
}

/// Where every record went: `read = scored + duplicate + filtered + late + malformed + open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    pub read: u64,
    /// Counted in a minute that was closed.
    pub scored: u64,
    pub duplicate: u64,
    /// Not asked for, or of a category that is not scored.
    pub filtered: u64,
    /// For a minute closed before they came.
    pub late: u64,
    pub malformed: u64,
    /// Counted in a minute that a snapshot keeps open.
    pub open: u64,
}

impl RecordCounts {
    /// Adds all but `open`, which is a state and no sum.
    pub fn add(&mut self, other: &RecordCounts) {
        self.read += other.read;
        self.scored += other.scored;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.late += other.late;
        self.malformed += other.malformed;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objects {
    pub read: u64,
    pub duplicate: u64,
    pub unreadable: u64,
    pub digests_passed_over: u64,
    pub insights_passed_over: u64,
    pub aggregated_passed_over: u64,
    pub network_activity_passed_over: u64,
    pub other_files_passed_over: u64,
    pub stored_bytes: u64,
    pub text_bytes: u64,
}

/// One account's Region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    pub account: String,
    pub region: String,
    pub objects: u64,
    pub events: u64,
    pub first_event: Option<String>,
    pub last_event: Option<String>,
    pub first_delivery: Option<String>,
    pub last_delivery: Option<String>,
    /// How many stretches of more than an hour had no delivery.
    pub gap_count: u64,
    /// The longest of them.
    pub gaps: Vec<Gap>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub from: String,
    pub to: String,
}

/// Seconds: of all readers together, of folding, and by the clock from start to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    pub reading_seconds: f64,
    pub folding_seconds: f64,
    pub total_seconds: f64,
}

/// Reads `insights.jsonl` of a result directory.
pub fn read_insights(root: &Path) -> Result<Vec<TrailRecord>, StoreError> {
    let path = root.join("insights.jsonl");
    let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(line, text)| {
            let json = |source| StoreError::Json { path: path.display().to_string(), line: line + 1, source };
            serde_json::from_str(text).map_err(json)
        })
        .collect()
}

/// Writes `summary.json` in place of an earlier one.
pub fn write_summary(root: &Path, summary: &SummaryFile) -> Result<(), StoreError> {
    let (path, partial) = (root.join("summary.json"), root.join("summary.partial"));
    let text = serde_json::to_vec_pretty(summary).map_err(io::Error::from).map_err(|error| failed(&path, error))?;
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path)).map_err(|error| failed(&path, error))
}

/// Reads `summary.json` of a result directory.
pub fn read_summary(root: &Path) -> Result<SummaryFile, StoreError> {
    let path = root.join("summary.json");
    let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
    serde_json::from_str(&text).map_err(|source| StoreError::Json {
        path: path.display().to_string(),
        line: source.line(),
        source,
    })
}
