//! A snapshot file: bytes with a checksum, replaced as a whole or not at all; and the lock of the directory that holds
//! it. Knows nothing of what the bytes mean.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use flate2::Crc;

use super::StoreError;

/// First bytes of the file: what it is, and the layout that follows: length and CRC-32 of the content, then the content.
const MAGIC: &[u8; 8] = b"hwstate1";

const HEAD: usize = 20;

/// A process that was killed holds its lock until the system has taken it down; on a busy machine that takes a moment.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// Takes a directory for this process alone, for as long as the file lives. `None`: another one has it and keeps it.
pub fn lock(directory: &Path) -> io::Result<Option<File>> {
    let lock = File::create(directory.join("lock"))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_WAIT),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Writes beside the old file, flushes to the disk, then takes its place.
pub fn write(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: path.display().to_string(), source };
    let mut writer = Writer::create(path).map_err(io)?;
    writer.write_all(content).map_err(io)?;
    writer.finish().map(|_| ()).map_err(io)
}

/// The same for a content that is never held as a whole.
pub struct Writer {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    length: u64,
    crc: Crc,
}

impl Writer {
    pub fn create(path: &Path) -> io::Result<Writer> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let partial = folder(path).join(format!(".{name}.partial"));
        let mut file = BufWriter::with_capacity(1 << 18, File::create(&partial)?);
        file.write_all(&[0; HEAD])?;
        Ok(Writer { path: path.to_owned(), partial, file, length: 0, crc: Crc::new() })
    }

    /// Says how long the content was, and gives it its place.
    pub fn finish(self) -> io::Result<u64> {
        let (length, folder) = self.put_in_place()?;
        folder.sync_all()?;
        Ok(length)
    }

    /// The same up to the moment from which on it is found in its place: whether it is there after a power cut, too, is
    /// only known once the folder is flushed. After an error the old file is in its place.
    pub fn put_in_place(mut self) -> io::Result<(u64, File)> {
        self.file.flush()?;
        let mut file = self.file.get_ref();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(MAGIC)?;
        file.write_all(&self.length.to_le_bytes())?;
        file.write_all(&self.crc.sum().to_le_bytes())?;
        file.sync_all()?;
        let folder = File::open(folder(&self.path))?;
        fs::rename(&self.partial, &self.path)?;
        Ok((self.length, folder))
    }
}

impl Drop for Writer {
    /// What was not finished must not fill the disk. After `finish` there is nothing of that name.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial);
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        self.crc.update(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Looks through all of it once, piece by piece; then it can be read from its beginning. And its length.
pub fn open(path: &Path) -> Result<(BufReader<File>, u64), StoreError> {
    let io = |source| StoreError::Io { path: path.display().to_string(), source };
    let damaged = |reason: &str| StoreError::Damaged { path: path.display().to_string(), reason: reason.to_owned() };
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(io)?);
    let mut head = [0; HEAD];
    if file.read_exact(&mut head).is_err() || &head[..8] != MAGIC {
        return Err(damaged("not a snapshot of Highwater"));
    }
    let (mut length, mut crc) = (0, Crc::new());
    loop {
        let piece = file.fill_buf().map_err(io)?;
        if piece.is_empty() {
            break;
        }
        crc.update(piece);
        let read = piece.len();
        length += read as u64;
        file.consume(read);
    }
    if head[8..16] != u64::to_le_bytes(length) || head[16..] != crc.sum().to_le_bytes() {
        return Err(damaged("the snapshot is incomplete or damaged; take an older one or start afresh"));
    }
    file.seek(SeekFrom::Start(HEAD as u64)).map_err(io)?;
    Ok((file, length))
}

/// Reads what was written; anything else is refused.
pub fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let (mut file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| StoreError::Io { path: path.display().to_string(), source })?;
    Ok(bytes)
}

/// CRC-32.
pub fn checksum(content: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(content);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_goes_away_is_waited_for_and_one_that_stays_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = lock(folder.path()).expect("locked").expect("nobody has it");
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(4 * LOCK_WAIT);
                drop(first);
            });
            let second = lock(folder.path()).expect("locked").expect("it was given back");
            assert!(lock(folder.path()).expect("asked").is_none());
            drop(second);
        });
    }

    #[test]
    fn what_was_written_comes_back_and_any_damage_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        write(&path, b"some state").expect("written");
        assert_eq!(read(&path).expect("read"), b"some state");
        let whole = fs::read(&path).expect("bytes");
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&path, &bytes).expect("damaged");
            assert!(read(&path).is_err(), "byte {place}");
            fs::write(&path, &whole[..place]).expect("cut");
            assert!(read(&path).is_err(), "cut at {place}");
        }
    }
}
