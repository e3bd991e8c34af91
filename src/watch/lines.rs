//! [`Lines`]: a file of lines that only grows and is written again, line for line, when a journal is replayed. What the
//! file already holds is compared, not written; so a kill at any moment leaves each line once. Knows no line's meaning.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::WatchError;

pub(super) struct Lines {
    path: PathBuf,
    file: File,
    /// How far what was said so far reaches; the file may be longer, by what was said before a kill.
    position: u64,
    length: u64,
    pending: Vec<u8>,
}

impl Lines {
    /// Goes on at `position`, as a snapshot remembers it.
    pub(super) fn open(path: &Path, position: u64) -> Result<Lines, WatchError> {
        let failed = |source| WatchError::Io { path: path.display().to_string(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if length < position {
            let reason = format!("{length} bytes long where {position} were written: lines were removed from it");
            return Err(WatchError::Damaged { path: path.display().to_string(), reason });
        }
        Ok(Lines { path: path.to_owned(), file, position, length, pending: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn push(&mut self, line: &impl Serialize) {
        // Lines are made of our own records: numbers and text, which JSON always has a form for.
        let _ = serde_json::to_writer(&mut self.pending, line);
        self.pending.push(b'\n');
    }

    /// Where the last line ends that was pushed.
    pub(super) fn end(&self) -> u64 {
        self.position + self.pending.len() as u64
    }

    /// What was pushed is not said.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// What the file holds is what was said: it goes on behind the last whole line.
    pub(super) fn stand(&mut self) -> Result<(), WatchError> {
        let failed = |source| WatchError::Io { path: self.path.display().to_string(), source };
        let mut beyond = Vec::new();
        self.file.seek(SeekFrom::Start(self.position)).map_err(failed)?;
        self.file.read_to_end(&mut beyond).map_err(failed)?;
        let whole = beyond.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.position += whole as u64;
        self.file.set_len(self.position).map_err(failed)?;
        self.length = self.position;
        Ok(())
    }

    /// Puts what was pushed on the disk. After an error it can be tried again.
    pub(super) fn flush(&mut self) -> Result<(), WatchError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let failed = |source| WatchError::Io { path: self.path.display().to_string(), source };
        let known = (self.length - self.position).min(self.pending.len() as u64) as usize;
        if known > 0 {
            let mut there = vec![0; known];
            self.file.seek(SeekFrom::Start(self.position)).map_err(failed)?;
            self.file.read_exact(&mut there).map_err(failed)?;
            if there != self.pending[..known] {
                let reason = format!("from byte {} on it holds other lines than were written", self.position);
                return Err(WatchError::Damaged { path: self.path.display().to_string(), reason });
            }
        }
        let fresh = &self.pending[known..];
        if !fresh.is_empty() {
            let at = self.position + known as u64;
            let written = (|| -> io::Result<()> {
                self.file.seek(SeekFrom::Start(at))?;
                self.file.write_all(fresh)?;
                self.file.sync_data()
            })();
            written.map_err(failed)?;
        }
        self.position += self.pending.len() as u64;
        self.length = self.length.max(self.position);
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replayed_lines_stand_once_after_any_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines");
        let whole = b"1\n22\n333\n";
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("cut");
            let mut lines = Lines::open(&path, 0).expect("opened");
            for line in [1, 22, 333] {
                lines.push(&line);
                lines.flush().expect("flushed");
            }
            assert_eq!(std::fs::read(&path).expect("read"), whole, "cut at {cut}");
        }
        let mut lines = Lines::open(&path, 2).expect("opened");
        std::fs::write(&path, b"1\n22\n3").expect("cut");
        lines.push(&23);
        lines.forget_pending();
        lines.stand().expect("stands");
        assert_eq!(lines.end(), 5);
        lines.push(&4);
        lines.flush().expect("flushed");
        assert_eq!(std::fs::read(&path).expect("read"), b"1\n22\n4\n");
        let mut lines = Lines::open(&path, 2).expect("opened");
        lines.push(&23);
        assert!(matches!(lines.flush(), Err(WatchError::Damaged { .. })));
        assert!(matches!(Lines::open(&path, 10), Err(WatchError::Damaged { .. })));
    }
}
