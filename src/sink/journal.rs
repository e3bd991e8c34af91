//! What a sink remembers on disk: the place that it reached in `insights.jsonl`, what it must know to go on from there,
//! and, in a second file, what its receiver refused. Knows neither receivers nor what a line says.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::board::Board;
use super::file::Written;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Bytes of `insights.jsonl` that are done with.
    pub position: u64,
    /// Incidents that were sent and have not ended, oldest first: their ends are sent too, whatever the filter says.
    pub open: Vec<String>,
    /// Of a file sink: its file, and how long that is.
    pub written: Option<Written>,
    pub board: Board,
    /// Where the lines end that the board has taken in; what it has to tell of them may take a while.
    pub taken: u64,
}

pub struct Journal {
    original: PathBuf,
    path: PathBuf,
    refused: PathBuf,
    pub state: State,
}

impl Journal {
    /// Goes on where the last process was, or at `end`, for a receiver that is new.
    pub fn open(original: &Path, name: &str, end: u64) -> anyhow::Result<Journal> {
        let path = original.with_file_name(format!("sink-{name}.json"));
        let refused = original.with_file_name(format!("sink-{name}.refused.jsonl"));
        let named = || path.display().to_string();
        let state = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("{}: not what a sink keeps; remove it and the sink begins with what comes next", named())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State { position: end, ..State::default() },
            Err(error) => return Err(error).with_context(named),
        };
        let journal = Journal { original: original.to_owned(), path, refused, state };
        journal.save()?;
        Ok(journal)
    }

    /// A place that is lost with the machine repeats lines, which receivers tell by their keys; half a place would keep
    /// the next process from starting.
    pub fn save(&self) -> anyhow::Result<()> {
        let partial = self.path.with_extension("partial");
        let text = serde_json::to_vec(&self.state)?;
        File::create(&partial)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&partial, &self.path))
            .with_context(|| self.path.display().to_string())
    }

    /// At most so many whole lines from the place reached, and where the last one ends.
    pub fn lines(&self, safe: u64, most: usize) -> io::Result<(Vec<String>, u64)> {
        let mut position = self.state.position;
        let mut lines = Vec::new();
        if position >= safe {
            return Ok((lines, position));
        }
        let mut file = File::open(&self.original)?;
        file.seek(SeekFrom::Start(position))?;
        let mut reader = BufReader::new(file);
        while lines.len() < most && position < safe {
            let mut line = String::new();
            let read = reader.read_line(&mut line)? as u64;
            if !line.ends_with('\n') {
                break;
            }
            position += read;
            lines.push(line.trim_end().to_owned());
        }
        Ok((lines, position))
    }

    /// Keeps what the receiver would not have.
    pub fn keep_refused(&self, reason: &str, what: &str) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Refused<'a> {
            time: String,
            reason: &'a str,
            refused: &'a RawValue,
        }
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        // A line that is no JSON is kept as text.
        let quoted;
        let refused: &RawValue = match serde_json::from_str(what) {
            Ok(raw) => raw,
            Err(_) => {
                quoted = serde_json::to_string(what)?;
                serde_json::from_str(&quoted)?
            }
        };
        let line = serde_json::to_string(&Refused { time, reason, refused })? + "\n";
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.refused)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .with_context(|| self.refused.display().to_string())
    }

    pub fn refused_path(&self) -> &Path {
        &self.refused
    }

    pub fn original(&self) -> &Path {
        &self.original
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_and_half_a_line_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let original = folder.path().join("insights.jsonl");
        fs::write(&original, "one\ntwo\nthree\nfo").expect("written");
        let mut journal = Journal::open(&original, "slack", 0).expect("opened");
        assert_eq!(journal.lines(16, 2).expect("lines"), (vec!["one".to_owned(), "two".to_owned()], 8));
        journal.state.position = 8;
        journal.save().expect("saved");
        // A place that is there wins over the end.
        let journal = Journal::open(&original, "slack", 14).expect("opened");
        assert_eq!(journal.lines(16, 9).expect("lines"), (vec!["three".to_owned()], 14));
        assert_eq!(journal.lines(8, 9).expect("lines").0, Vec::<String>::new(), "not safe yet");
        let new = Journal::open(&original, "mail", 14).expect("opened");
        assert_eq!(new.state.position, 14, "a new one begins with what comes");
        fs::write(folder.path().join("sink-slack.json"), "{").expect("written");
        assert!(Journal::open(&original, "slack", 0).is_err());
    }

    #[test]
    fn what_is_refused_is_kept_with_its_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(&folder.path().join("insights.jsonl"), "x", 0).expect("opened");
        journal.keep_refused("status 400", r#"{"a": 1}"#).expect("kept");
        journal.keep_refused("status 400", "no \"JSON\"").expect("kept");
        let text = fs::read_to_string(folder.path().join("sink-x.refused.jsonl")).expect("read");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((&lines[0]["refused"]["a"], &lines[1]["refused"]), (&1.into(), &"no \"JSON\"".into()));
    }
}
