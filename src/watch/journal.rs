//! [`Journal`]: what has been taken in since the last snapshot, entry by entry, each on the disk before anyone is told
//! so; and the snapshot that lets the entries before it go. One process at a time, by a lock. Knows bytes, not what
//! they mean.
//!
//! In the directory: `lock`, `snapshot`, and `journal-N`, whose entries came after the snapshot that names `N`. An entry is
//! its length, the CRC-32 of that, the CRC-32 of its bytes, each 32 bits, least significant first, then the bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::WatchError;
use crate::store::state;

/// Before each entry: its length, the CRC-32 of that, and of the entry.
const HEAD: usize = 12;

/// Journals shorter than this are not worth a snapshot.
const SNAPSHOT_BYTES_MIN: u64 = 16 << 20;

pub(super) struct Journal {
    directory: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
    number: u64,
    file: File,
    /// Of whole entries; what lies behind is of one that could not be written.
    length: u64,
    /// Half an entry may lie behind the whole ones.
    torn: bool,
    snapshot_bytes: u64,
    /// The length at which a snapshot could last not be written.
    failed_at: u64,
}

/// What was found.
pub(super) struct Recovered {
    pub(super) journal: Journal,
    pub(super) snapshot: Option<BufReader<File>>,
    pub(super) entries: Entries,
}

/// Whole entries one by one: together they may be larger than the memory.
pub(super) struct Entries {
    file: BufReader<File>,
    left: u64,
}

impl Iterator for Entries {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        Some(
            next_entry(&mut self.file, &mut self.left)
                .and_then(|entry| entry.map(|(entry, _)| entry).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())),
        )
    }
}

impl Journal {
    pub(super) fn open(directory: &Path) -> Result<Recovered, WatchError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| WatchError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let Some(lock) = state::lock(directory).map_err(failed(&directory.join("lock")))? else {
            return Err(WatchError::Locked { path: directory.display().to_string() });
        };
        let path = directory.join("snapshot");
        let (number, snapshot) = if path.exists() {
            let (mut file, length) = state::open(&path)?;
            let mut number = [0; 8];
            if file.read_exact(&mut number).is_err() {
                let reason = "the snapshot is too short".to_owned();
                return Err(WatchError::Damaged { path: path.display().to_string(), reason });
            }
            (u64::from_le_bytes(number), Some((file, length)))
        } else {
            (0, None)
        };
        let path = journal_path(directory, number);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed(&path))?;
        let bytes = file.metadata().map_err(failed(&path))?.len();
        let read = || File::open(&path).map(|file| BufReader::with_capacity(1 << 18, file)).map_err(failed(&path));
        let length = whole(read()?, bytes)
            .map_err(failed(&path))?
            .map_err(|reason| WatchError::Damaged { path: path.display().to_string(), reason: reason.to_owned() })?;
        if length < bytes {
            file.set_len(length).map_err(failed(&path))?;
        }
        // The name of a first journal must survive a power cut.
        File::open(directory).and_then(|folder| folder.sync_all()).map_err(failed(directory))?;
        let entries = Entries { file: read()?, left: length };
        let snapshot_bytes = snapshot.as_ref().map_or(0, |(_, length)| *length);
        let snapshot = snapshot.map(|(file, _)| file);
        let journal = Journal {
            directory: directory.to_owned(),
            _lock: lock,
            number,
            file,
            length,
            torn: false,
            snapshot_bytes,
            failed_at: 0,
        };
        journal.forget_older();
        Ok(Recovered { journal, snapshot, entries })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Puts an entry on the disk. After an error the journal is as it was.
    pub(super) fn append(&mut self, entry: &[u8]) -> Result<(), WatchError> {
        let path = journal_path(&self.directory, self.number);
        let failed = |source| WatchError::Io { path: path.display().to_string(), source };
        if self.torn {
            self.cut().map_err(failed)?;
        }
        let length = u32::try_from(entry.len())
            .map_err(|_| failed(io::Error::other("an entry of more than 4 GiB: commit more often")))?;
        let mut bytes = Vec::with_capacity(HEAD + entry.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend(state::checksum(&length.to_le_bytes()).to_le_bytes());
        bytes.extend(state::checksum(entry).to_le_bytes());
        bytes.extend(entry);
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // If even this fails, it comes first the next time; a new start drops half an entry at the end.
            self.torn = self.cut().is_err();
            return Err(failed(source));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.torn = false;
        Ok(())
    }

    /// Whether reading the journal again would take longer than a snapshot is worth. One that could not be written is
    /// tried again only after a while.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.length > SNAPSHOT_BYTES_MIN.max(2 * self.snapshot_bytes).max(self.failed_at + SNAPSHOT_BYTES_MIN)
    }

    /// Replaces snapshot and journal: the former, which is written as it comes, stands for all entries so far.
    pub(super) fn snapshot(
        &mut self,
        write: impl FnOnce(&mut state::Writer) -> Result<(), WatchError>,
    ) -> Result<(), WatchError> {
        let taken = self.replace(write);
        self.failed_at = if taken.is_ok() { 0 } else { self.length };
        taken
    }

    fn replace(&mut self, write: impl FnOnce(&mut state::Writer) -> Result<(), WatchError>) -> Result<(), WatchError> {
        let number = self.number + 1;
        let path = journal_path(&self.directory, number);
        let failed = |source| WatchError::Io { path: path.display().to_string(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let path = self.directory.join("snapshot");
        let failed = |source| WatchError::Io { path: path.display().to_string(), source };
        let mut content = state::Writer::create(&path).map_err(failed)?;
        content.write_all(&number.to_le_bytes()).map_err(failed)?;
        write(&mut content)?;
        let (length, folder) = content.put_in_place().map_err(failed)?;
        (self.number, self.file, self.length, self.torn, self.snapshot_bytes) = (number, file, 0, false, length);
        // Which of the two snapshots a power cut would leave is not known then: nothing more may be promised.
        folder.sync_all().map_err(|source| WatchError::Lost { path: path.display().to_string(), source })?;
        self.forget_older();
        Ok(())
    }

    /// Removes journals that no snapshot needs. One that stays takes room and does no harm.
    fn forget_older(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("journal-")?.parse::<u64>().ok());
            if number.is_some_and(|number| number != self.number) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn journal_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number}"))
}

/// The next entry of `left` bytes, and whether its checksums are right; none where it is cut short.
fn next_entry(file: &mut impl Read, left: &mut u64) -> io::Result<Option<(Vec<u8>, bool)>> {
    if *left < HEAD as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
    let (length, checksum) = (u64::from(word(0)), word(8));
    // A wrong length would make damage look like an entry cut short.
    if word(4) != state::checksum(&head[..4]) {
        *left -= HEAD as u64;
        return Ok(Some((Vec::new(), false)));
    }
    if *left - (HEAD as u64) < length {
        return Ok(None);
    }
    let mut entry = Vec::new();
    file.take(length).read_to_end(&mut entry)?;
    *left -= HEAD as u64 + length;
    let right = length > 0 && entry.len() as u64 == length && state::checksum(&entry) == checksum;
    Ok(Some((entry, right)))
}

/// Whether a whole entry begins anywhere.
fn holds_an_entry(bytes: &[u8]) -> bool {
    bytes.windows(HEAD).enumerate().any(|(at, head)| {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        (1..=bytes.len() - at - HEAD).contains(&length)
            && state::checksum(&head[..4]).to_le_bytes() == head[4..8]
            && state::checksum(&bytes[at + HEAD..][..length]).to_le_bytes() == head[8..]
    })
}

/// How many bytes the whole entries take. The last one may be cut short, and after a power cut lack any of its pages: it
/// was never promised to anyone.
fn whole(mut file: impl Read, bytes: u64) -> io::Result<Result<u64, &'static str>> {
    let (mut left, mut length) = (bytes, 0);
    while let Some((_, right)) = next_entry(&mut file, &mut left)? {
        if !right {
            let mut rest = Vec::new();
            file.read_to_end(&mut rest)?;
            // Each entry was on the disk before the next one was begun.
            if holds_an_entry(&rest) {
                return Ok(Err(
                    "an entry is damaged and others follow it; the state cannot be trusted: start afresh with an empty directory",
                ));
            }
            break;
        }
        length = bytes - left;
    }
    Ok(Ok(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(entries: Entries) -> Vec<Vec<u8>> {
        entries.collect::<Result<_, _>>().expect("entries")
    }

    #[test]
    fn what_was_appended_is_there_after_any_cut_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let entries: Vec<Vec<u8>> = (1..6u8).map(|n| vec![n; usize::from(n) * 3]).collect();
        let mut journal = Journal::open(folder.path()).expect("opened").journal;
        entries.iter().for_each(|entry| journal.append(entry).expect("appended"));
        drop(journal);
        let path = journal_path(folder.path(), 0);
        let whole = fs::read(&path).expect("bytes");
        let last = whole.len() - HEAD - entries[entries.len() - 1].len();
        let mut kept = 0;
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).expect("cut");
            let found = all(Journal::open(folder.path()).expect("opened").entries);
            assert!(found.len() >= kept && found[..] == entries[..found.len()], "cut at {cut}");
            kept = found.len();
        }
        assert_eq!(kept, entries.len());
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 4;
            fs::write(&path, &bytes).expect("damaged");
            // Refused, or, in the last entry, dropped; never another entry.
            if let Ok(recovered) = Journal::open(folder.path()) {
                assert_eq!(all(recovered.entries)[..], entries[..entries.len() - 1], "byte {place}");
                assert!(place >= last, "byte {place}");
            }
        }
        for (from, to) in (last..=whole.len()).flat_map(|from| (from..=whole.len()).map(move |to| (from, to))) {
            let mut bytes = whole.clone();
            bytes[from..to].fill(0);
            fs::write(&path, &bytes).expect("pages that never came to the disk");
            let found = all(Journal::open(folder.path()).expect("opened").entries);
            assert!(found.len() + 1 >= entries.len() && found[..] == entries[..found.len()], "{from} to {to}");
        }
    }

    #[test]
    fn a_snapshot_stands_for_the_entries_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path()).expect("opened").journal;
        journal.append(b"before").expect("appended");
        let failed = |source| WatchError::Io { path: "snapshot".to_owned(), source };
        journal.snapshot(|file| file.write_all(b"all of it").map_err(failed)).expect("taken");
        journal.append(b"after").expect("appended");
        assert!(matches!(Journal::open(folder.path()), Err(WatchError::Locked { .. })));
        drop(journal);
        // Left behind by a kill between the new journal and the new snapshot.
        fs::write(journal_path(folder.path(), 2), b"").expect("a file");
        let recovered = Journal::open(folder.path()).expect("opened");
        let mut snapshot = Vec::new();
        recovered.snapshot.expect("one").read_to_end(&mut snapshot).expect("read");
        assert_eq!((snapshot, all(recovered.entries)), (b"all of it".to_vec(), vec![b"after".to_vec()]));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 3);
    }
}
