//! A file that gets every line, each once: how long it is says how far it got. Knows nothing of what a line says.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A part is copied at a time.
const PART_BYTES: usize = 1 << 20;

pub struct Copy {
    path: PathBuf,
    file: File,
    length: u64,
    /// What is there was found to be what was written before.
    checked: bool,
}

impl Copy {
    /// Goes on with the file, or makes it.
    pub fn open(path: &Path) -> anyhow::Result<Copy> {
        let named = || path.display().to_string();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).with_context(named)?;
        let length = file.seek(SeekFrom::End(0)).with_context(named)?;
        Ok(Copy { path: path.to_owned(), file, length, checked: false })
    }

    /// Copies what `original` has beyond it, up to `end`, and puts it on the disk.
    pub fn catch_up(&mut self, original: &Path, end: u64) -> anyhow::Result<()> {
        let path = self.path.clone();
        let named = || format!("copying {} to {}", original.display(), path.display());
        if !self.checked {
            self.check(original, end).with_context(named)?;
            self.checked = true;
        }
        if self.length >= end {
            return Ok(());
        }
        let mut from = File::open(original).with_context(named)?;
        from.seek(SeekFrom::Start(self.length)).with_context(named)?;
        let mut rest = from.take(end - self.length);
        self.file.seek(SeekFrom::Start(self.length)).with_context(named)?;
        let copied = io::copy(&mut rest, &mut self.file).and_then(|copied| self.file.sync_data().map(|()| copied));
        self.length += copied.with_context(named)?;
        Ok(())
    }

    /// A file with other lines in it is somebody else's.
    fn check(&mut self, original: &Path, end: u64) -> anyhow::Result<()> {
        if self.length > end {
            bail!("{} holds more than was ever written to it; name another file", self.path.display());
        }
        let mut original = File::open(original)?.take(self.length);
        self.file.rewind()?;
        let (mut ours, mut theirs) = (vec![0; PART_BYTES], Vec::with_capacity(PART_BYTES));
        loop {
            theirs.clear();
            let read = (&mut original).take(PART_BYTES as u64).read_to_end(&mut theirs)?;
            if read == 0 {
                return Ok(());
            }
            self.file.read_exact(&mut ours[..read])?;
            if ours[..read] != theirs[..] {
                bail!("{} holds other lines than were written to it; name another file", self.path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_stand_once_wherever_the_last_copy_was_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let (original, path) = (folder.path().join("original"), folder.path().join("copy"));
        let text = b"one\ntwo\nthree\n";
        fs::write(&original, text).expect("written");
        for cut in 0..=text.len() {
            fs::write(&path, &text[..cut]).expect("cut");
            let mut copy = Copy::open(&path).expect("opened");
            // What is not on the disk for good is not copied.
            copy.catch_up(&original, text.len() as u64).expect("copied");
            assert_eq!(fs::read(&path).expect("read"), text, "cut at {cut}");
        }
        let mut copy = Copy::open(&path).expect("opened");
        assert!(copy.catch_up(&original, 4).is_err(), "longer than the original");
        fs::write(&path, b"two\n").expect("written");
        let mut copy = Copy::open(&path).expect("opened");
        assert!(copy.catch_up(&original, text.len() as u64).is_err(), "other lines");
    }
}
