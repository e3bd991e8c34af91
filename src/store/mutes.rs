//! `mutes.json` of a state directory: what people asked not to hear of. Written by commands while a sidecar reads it, so
//! each version stands there whole. Knows the file; not what a mute does.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::StoreError;
use crate::insight::mute::Mutes;

const FILE: &str = "mutes.json";

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::Io { path: path.clone(), source }
}

/// The list; without a file, an empty one.
pub fn read(directory: &Path) -> Result<Mutes, StoreError> {
    let path = directory.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Mutes::parse(&text)
            .map_err(|error| StoreError::Damaged { path: path.display().to_string(), reason: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mutes::default()),
        Err(error) => Err(failed(&path)(error)),
    }
}

/// Changes the list, one command at a time.
pub fn edit<T>(directory: &Path, change: impl FnOnce(&mut Mutes) -> T) -> Result<T, StoreError> {
    let (path, lock) = (directory.join(FILE), directory.join("mutes.lock"));
    let locked = File::create(&lock).map_err(failed(&lock))?;
    locked.lock().map_err(failed(&lock))?;
    let mut mutes = read(directory)?;
    let changed = change(&mut mutes);
    let partial = directory.join("mutes.partial");
    let text = serde_json::to_string_pretty(&mutes).map_err(io::Error::from).map_err(failed(&path))?;
    File::create(&partial)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(failed(&path))?;
    Ok(changed)
}

/// The list as a running sidecar looks at it.
#[derive(Default)]
pub struct Followed {
    directory: PathBuf,
    /// Of the version that was read last.
    seen: Option<Option<(SystemTime, u64)>>,
}

impl Followed {
    pub fn new(directory: &Path) -> Followed {
        Followed { directory: directory.to_owned(), seen: None }
    }

    /// The list, if it is another one than last time.
    pub fn changed(&mut self) -> Option<Result<Mutes, StoreError>> {
        let metadata = fs::metadata(self.directory.join(FILE)).ok();
        let now = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        if self.seen == Some(now) {
            return None;
        }
        self.seen = Some(now);
        Some(read(&self.directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::mute::Mute;

    fn mute(id: &str) -> Mute {
        let json = format!("{{\"mutes\":[{{\"id\":\"{id}\",\"made\":\"\",\"reason\":\"\"}}]}}");
        Mutes::parse(&json).expect("a mute").mutes.remove(0)
    }

    #[test]
    fn whoever_follows_sees_each_version_once_and_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut followed = Followed::new(folder.path());
        assert!(followed.changed().is_some_and(|mutes| mutes.is_ok_and(|mutes| mutes.mutes.is_empty())));
        assert!(followed.changed().is_none());
        // Many at once, and none is lost.
        std::thread::scope(|scope| {
            for id in 0..16 {
                let root = folder.path();
                scope.spawn(move || edit(root, |list| list.mutes.push(mute(&format!("m-{id}")))).expect("edited"));
            }
        });
        let mutes = followed.changed().expect("another one").expect("whole");
        assert_eq!(mutes.mutes.len(), 16);
        assert!(followed.changed().is_none());
        fs::write(folder.path().join(FILE), "{").expect("written");
        assert!(followed.changed().is_some_and(|mutes| mutes.is_err()), "told, not taken for an empty list");
        fs::remove_file(folder.path().join(FILE)).expect("removed");
        assert!(followed.changed().is_some_and(|mutes| mutes.is_ok_and(|mutes| mutes.mutes.is_empty())));
    }
}
