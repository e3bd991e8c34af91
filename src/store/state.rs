//! A snapshot file: bytes with a checksum, replaced as a whole or not at all. Knows nothing of what the bytes mean.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::StoreError;

/// First bytes of the file: what it is, and the layout that follows: length and CRC-32 of the content, then the content.
const MAGIC: &[u8; 8] = b"hwstate1";

/// Writes beside the old file, flushes to the disk, then takes its place.
pub fn write(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: path.display().to_string(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let partial = folder.join(format!(".{name}.partial"));
    let mut file = File::create(&partial).map_err(io)?;
    file.write_all(MAGIC).map_err(io)?;
    file.write_all(&(content.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(&checksum(content).to_le_bytes()).map_err(io)?;
    file.write_all(content).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&partial, path).map_err(io)?;
    // The new name must survive a power cut too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Reads what was written; anything else is refused.
pub fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes = fs::read(path).map_err(|source| StoreError::Io { path: path.display().to_string(), source })?;
    let damaged = |reason: &str| StoreError::Damaged { path: path.display().to_string(), reason: reason.to_owned() };
    const HEAD: usize = 20;
    if bytes.len() < HEAD || &bytes[..8] != MAGIC {
        return Err(damaged("not a snapshot of Highwater"));
    }
    let (length, sum) = (&bytes[8..16], &bytes[16..HEAD]);
    if length != ((bytes.len() - HEAD) as u64).to_le_bytes() || sum != checksum(&bytes[HEAD..]).to_le_bytes() {
        return Err(damaged("the snapshot is incomplete or damaged; take an older one or start afresh"));
    }
    bytes.drain(..HEAD);
    Ok(bytes)
}

/// CRC-32.
pub fn checksum(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

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
