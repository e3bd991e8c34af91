//! A directory that grows: looked through again and again, each file once it has stopped changing. Knows names, sizes
//! and times of files; not what is in them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::live::{Feed, Line, now_s};
use super::{Object, find};

/// How often the directory is looked through; less often where a look takes long, so that it never takes more than a
/// tenth of a core.
const EVERY: Duration = Duration::from_secs(1);
const REST_PER_LOOK: u32 = 9;

/// A file that was not changed for so long is whole. Who writes for longer should write beside it and rename.
const SETTLED: Duration = Duration::from_secs(2);

/// A file that cannot be read is tried so often before it is given up.
const TRIES: u32 = 30;

/// Beyond it a file is no log.
const OBJECT_BYTES_MAX: u64 = 512 << 20;

/// What a file looked like when it was handed over.
#[derive(Clone, Copy, PartialEq)]
struct Stamp {
    bytes: u64,
    changed: Option<SystemTime>,
}

/// Runs until told to stop.
pub async fn run(directory: PathBuf, line: Line) {
    let mut known: HashMap<String, Stamp> = HashMap::new();
    let (mut ahead, mut tries): (HashMap<String, Stamp>, HashMap<String, u32>) = Default::default();
    let mut ticket = 0;
    // Why the directory could not be listed, as was told: once, not every second.
    let mut trouble = None;
    let path = [directory.to_string_lossy().into_owned()];
    while !line.stop.is_cancelled() {
        let (second, looked_at) = (now_s(), Instant::now());
        let listed = tokio::task::block_in_place(|| find(&path));
        let (mut all_settled, objects) = match listed {
            Ok(found) => {
                if trouble.take().is_some() {
                    info!(directory = %directory.display(), "the directory can be listed again");
                }
                (true, found.objects)
            }
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    warn!(directory = %directory.display(), %error, "the directory cannot be listed; trying again");
                }
                trouble = Some(error);
                (false, Vec::new())
            }
        };
        let rest = EVERY.max(looked_at.elapsed() * REST_PER_LOOK);
        // What is gone need not be known any more.
        if all_settled {
            let here: HashSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
            known.retain(|name, _| here.contains(name.as_str()));
        }
        for object in objects {
            // Gone since, or a link to nothing.
            let Some(stamp) = stamp(&object) else { continue };
            if known.get(&object.name) == Some(&stamp) {
                continue;
            }
            // One that was changed in the future, by a clock that differs, is known by its not changing any more.
            let settled = match stamp.changed.map(|changed| changed.elapsed()) {
                Some(Ok(age)) => age >= SETTLED,
                Some(Err(_)) => ahead.insert(object.name.clone(), stamp) == Some(stamp),
                None => true,
            };
            if !settled {
                all_settled = false;
                continue;
            }
            ahead.remove(&object.name);
            let mut bytes = Vec::new();
            let read = match stamp.bytes {
                0..=OBJECT_BYTES_MAX => tokio::task::block_in_place(|| object.read(&mut bytes)),
                _ => Err(std::io::Error::other(format!("it has more than {} MiB", OBJECT_BYTES_MAX >> 20))),
            };
            let feed = match read {
                Ok(()) => Feed::Delivery { ticket: ticket + 1, name: object.name.clone(), bytes },
                Err(error) => {
                    let tries = tries.entry(object.name.clone()).or_insert(0);
                    *tries += 1;
                    if *tries < TRIES {
                        all_settled = false;
                        continue;
                    }
                    let reason = format!("the object could not be read {TRIES} times: {error}");
                    Feed::Parked { ticket: ticket + 1, name: object.name.clone(), reason }
                }
            };
            ticket += 1;
            tries.remove(&object.name);
            known.insert(object.name, stamp);
            if !line.say(feed).await {
                return;
            }
        }
        if all_settled && !line.say(Feed::Drained { second }).await {
            return;
        }
        tokio::select! {
            () = line.stop.cancelled() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

fn stamp(object: &Object) -> Option<Stamp> {
    let metadata = std::fs::metadata(object.path()?).ok()?;
    Some(Stamp { bytes: metadata.len(), changed: metadata.modified().ok() })
}
