//! A directory that grows: looked through again and again, each file once it has stopped changing. Knows names, sizes
//! and times of files; not what is in them.

use std::collections::HashMap;
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

/// What a file looked like when it was handed over.
type Stamp = (u64, Option<SystemTime>);

/// Runs until told to stop.
pub async fn run(directory: PathBuf, line: Line) {
    let mut known: HashMap<String, Stamp> = HashMap::new();
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
        for object in objects {
            let Some(stamp) = stamp(&object) else {
                all_settled = false;
                continue;
            };
            if known.get(&object.name) == Some(&stamp) {
                continue;
            }
            let age = stamp.1.and_then(|changed| changed.elapsed().ok()).unwrap_or(SETTLED);
            if age < SETTLED {
                all_settled = false;
                continue;
            }
            ticket += 1;
            let mut bytes = Vec::new();
            let feed = match tokio::task::block_in_place(|| object.read(&mut bytes)) {
                Ok(()) => Feed::Delivery { ticket, name: object.name.clone(), bytes },
                Err(error) => {
                    let reason = format!("the object cannot be read: {error}");
                    Feed::Parked { ticket, name: object.name.clone(), reason }
                }
            };
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
    Some((metadata.len(), metadata.modified().ok()))
}
