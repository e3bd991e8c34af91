//! Records to a file, a line each, each once: what a killed process wrote beyond what it noted is cut off. Knows no
//! record.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Format;

/// Appends each record to a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The file; it is made if it is not there.
    pub path: PathBuf,
    /// cloudtrail, ocsf, asff or text [default: cloudtrail].
    #[serde(default)]
    pub format: Format,
}

impl File {
    /// Returns how long the file is then. `known`: how long it was when this was last noted; a file that is shorter was
    /// put aside, and is begun again.
    pub fn append(&self, line: &str, known: Option<u64>) -> io::Result<u64> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let length = file.seek(SeekFrom::End(0))?;
        if let Some(known) = known.filter(|known| *known < length) {
            file.set_len(known)?;
            file.seek(SeekFrom::Start(known))?;
        }
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()?;
        file.stream_position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_stands_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File { path: folder.path().join("findings.jsonl"), format: Format::Ocsf };
        std::fs::write(&file.path, "theirs\n").expect("written");
        let first = file.append("one", None).expect("appended");
        // Killed before the second was noted: it comes again.
        file.append("two", Some(first)).expect("appended");
        let second = file.append("two", Some(first)).expect("appended");
        assert_eq!(std::fs::read_to_string(&file.path).expect("read"), "theirs\none\ntwo\n");
        std::fs::remove_file(&file.path).expect("put aside");
        assert_eq!(file.append("three", Some(second)).expect("appended"), 6);
    }
}
