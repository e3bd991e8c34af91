//! Records to a file, a line each, each once: what a killed process wrote beyond what it noted is cut off, and never what
//! others wrote. Knows no record.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{self, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// How long a file was after the last line that is known to be in it: what stands behind was written by a process that
/// was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    path: PathBuf,
    bytes: u64,
}

impl File {
    /// `known`: what was noted of the last line; afterwards, of this one. A file that is shorter was put aside, and is
    /// begun again. Of another file the length says nothing: all that is in it stays.
    pub fn append(&self, line: &str, known: &mut Option<Written>) -> io::Result<()> {
        let path = path::absolute(&self.path)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let text = format!("{line}\n");
        let length = file.seek(SeekFrom::End(0))?;
        let noted = known.as_ref().filter(|known| known.path == path).map_or(length, |known| known.bytes.min(length));
        file.seek(SeekFrom::Start(noted))?;
        let mut behind = Vec::new();
        (&file).take(text.len() as u64).read_to_end(&mut behind)?;
        // Whoever was killed had written this very line, or its beginning. Other lines are somebody else's.
        let begin = if text.as_bytes().starts_with(&behind) { noted } else { length };
        // Noted before it is written: half a line that a full disk took is cut off with the next attempt.
        let known = known.insert(Written { path, bytes: begin });
        file.set_len(begin)?;
        file.seek(SeekFrom::Start(begin))?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        known.bytes = file.stream_position()?;
        Ok(())
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
        let mut known = None;
        file.append("one", &mut known).expect("appended");
        // Killed before the second was noted: it comes again.
        file.append("two", &mut known.clone()).expect("appended");
        file.append("two", &mut known).expect("appended");
        assert_eq!(std::fs::read_to_string(&file.path).expect("read"), "theirs\none\ntwo\n");
        // Killed within a line, and after two that were not noted.
        for torn in ["theirs\none\ntwo\nthr", "theirs\none\ntwo\nthree\nfour\n"] {
            std::fs::write(&file.path, torn).expect("written");
            file.append("three", &mut known.clone()).expect("appended");
            assert_eq!(std::fs::read_to_string(&file.path).expect("read"), "theirs\none\ntwo\nthree\n");
        }
        std::fs::remove_file(&file.path).expect("put aside");
        file.append("three", &mut known).expect("appended");
        assert_eq!(
            (std::fs::read_to_string(&file.path).expect("read"), known.expect("noted").bytes),
            ("three\n".to_owned(), 6)
        );
    }

    #[test]
    fn another_file_is_never_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| File { path: folder.path().join(name), format: Format::Ocsf };
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("read");
        let mut known = None;
        for line in ["one", "two", "three"] {
            file("a").append(line, &mut known).expect("appended");
        }
        // Pointed at a shared log that is longer, at a file that is shorter, and back.
        std::fs::write(folder.path().join("shared"), "theirs, and rather long\n").expect("written");
        file("shared").append("four", &mut known).expect("appended");
        std::fs::write(folder.path().join("shared"), "theirs, and rather long\nfour\nmore of theirs\n")
            .expect("written");
        file("shared").append("five", &mut known).expect("appended");
        file("b").append("five", &mut known).expect("appended");
        // Whatever stands there by chance.
        std::fs::write(folder.path().join("c"), "four\nsix\n").expect("written");
        file("c").append("six", &mut known).expect("appended");
        assert_eq!(text("c"), "four\nsix\nsix\n");
        file("a").append("six", &mut known).expect("appended");
        assert_eq!(text("shared"), "theirs, and rather long\nfour\nmore of theirs\nfive\n");
        assert_eq!((text("a").as_str(), text("b").as_str()), ("one\ntwo\nthree\nsix\n", "five\n"));
    }
}
