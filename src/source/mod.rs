//! Where objects come from: [`find`] turns the paths a user named into a list of objects in a fixed order, and
//! [`find_part`] buckets too. Knows file
//! names and delivery times; not what is in an object, nor what becomes of it.

pub mod ahead;
pub mod aws;
pub mod bucket;
pub mod folder;
pub mod listing;
pub mod live;
pub mod notification;
pub mod push;
pub mod sqs;
#[cfg(test)]
mod stand_in;
pub mod stdin;
pub mod watched;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use walkdir::WalkDir;

use ahead::Ahead;
pub use ahead::{Part, days};

use crate::event::{Kind, Minute, ObjectName};
pub use watched::Source;

/// Why the named input cannot be listed.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("{path}: no such file or directory")]
    Missing { path: String },
    #[error("{path}: no file matches this pattern")]
    NoMatch { path: String },
    #[error("{path}: not a valid pattern: {reason}")]
    Pattern { path: String, reason: String },
    #[error("{path}: only `highwater scan` and `highwater watch` read buckets; scan it, or copy it to a directory")]
    Bucket { path: String },
    #[error("listing {path}: {reason}")]
    List { path: String, reason: String },
}

/// Standard input as a path.
pub const STDIN: &str = "-";

/// How a bucket's URL begins.
const S3: &str = "s3://";

/// One object to read.
#[derive(Clone, Debug)]
pub struct Object {
    /// As messages show it, with `/` between its parts.
    pub name: String,
    place: Place,
    /// From the name; `None` where it tells nothing.
    pub delivered: Option<Minute>,
}

#[derive(Clone, Debug)]
enum Place {
    Stdin,
    File(PathBuf),
    /// By its place among the objects in buckets.
    Bucket(Arc<Ahead>, usize),
}

impl Object {
    /// `None`: no file.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Stdin | Place::Bucket(..) => None,
        }
    }

    /// The whole object as it is stored.
    pub fn read(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        match &self.place {
            Place::File(path) => fs::File::open(path)?.read_to_end(buffer).map(drop),
            Place::Stdin => io::stdin().lock().read_to_end(buffer).map(drop),
            Place::Bucket(ahead, place) => ahead.read(*place, buffer),
        }
    }
}

/// What was found under the named paths.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Without delivery time first, then by delivery time and name; each name once. The same file under two names is
    /// told by its bytes, when it is read.
    pub objects: Vec<Object>,
    /// Objects of other kinds, which are not read.
    pub digests: u64,
    pub insights: u64,
    pub aggregated: u64,
    pub network_activity: u64,
    /// Files in a directory that are no logs by their ending.
    pub other_files: u64,
}

/// Endings of log files. In a directory other files are passed over; a file named by the user is always read.
const ENDINGS: [&str; 6] = [".json.gz", ".json", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"];

/// Lists files, directories (all below them), patterns (`*`, `?`, `[..]`, `**`) and `-`.
pub fn find(paths: &[String]) -> Result<Found, SourceError> {
    match paths.iter().find(|path| path.starts_with(S3)) {
        Some(path) => Err(SourceError::Bucket { path: path.clone() }),
        None => find_part(paths, &Part::default()),
    }
}

/// Like [`find`], and buckets: `s3://BUCKET/PREFIX`, of which only a part of the trail is listed.
pub fn find_part(paths: &[String], part: &Part) -> Result<Found, SourceError> {
    let mut found = Found::default();
    let (mut seen, mut urls) = (HashSet::new(), Vec::new());
    for path in paths {
        if path == STDIN {
            if !found.objects.iter().any(|object| matches!(object.place, Place::Stdin)) {
                found.objects.push(Object { name: STDIN.to_owned(), place: Place::Stdin, delivered: None });
            }
        } else if path.starts_with(S3) {
            urls.push(path.as_str());
        } else if Path::new(path).exists() {
            found.add_tree(Path::new(path), &mut seen);
        } else if path.contains(['*', '?', '[']) {
            let pattern = glob::glob(path)
                .map_err(|error| SourceError::Pattern { path: path.clone(), reason: error.to_string() })?;
            let mut any = false;
            for entry in pattern {
                let entry =
                    entry.map_err(|error| SourceError::List { path: path.clone(), reason: error.to_string() })?;
                found.add_tree(&entry, &mut seen);
                any = true;
            }
            if !any {
                return Err(SourceError::NoMatch { path: path.clone() });
            }
        } else {
            return Err(SourceError::Missing { path: path.clone() });
        }
    }
    if !urls.is_empty() {
        let (ahead, other_files) = Ahead::list(&urls, part)?;
        let ahead = Arc::new(ahead);
        found.other_files += other_files;
        for (place, key) in ahead.keys().iter().enumerate() {
            found.add(key.name(), Place::Bucket(ahead.clone(), place));
        }
    }
    found.objects.sort_by(|a, b| (a.delivered, &a.name).cmp(&(b.delivered, &b.name)));
    Ok(found)
}

/// What `highwater simulate` says of a trail it has made, beside its `AWSLogs`.
fn is_truth(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let names_truth = name == "truth.json" || name.starts_with("truth-") && name.ends_with(".json");
    names_truth && path.parent().is_some_and(|folder| folder.join("AWSLogs").is_dir())
}

impl Found {
    fn add_tree(&mut self, root: &Path, seen: &mut HashSet<String>) {
        let named_file = root.is_file();
        for entry in WalkDir::new(root).follow_links(true) {
            let entry = match entry {
                Ok(entry) => entry,
                // A link back to where we are: all of it is found anyway.
                Err(error) if error.loop_ancestor().is_some() => continue,
                // What cannot be listed is an object that cannot be read: told and counted with the others.
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    let name = path.to_string_lossy().into_owned();
                    self.objects.push(Object { name, place: Place::File(path), delivered: None });
                    continue;
                }
            };
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.path();
            let name = path.to_string_lossy();
            let name = if name.contains('\\') { name.replace('\\', "/") } else { name.into_owned() };
            if !named_file && (!ENDINGS.iter().any(|ending| name.ends_with(ending)) || is_truth(path)) {
                self.other_files += 1;
                continue;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            self.add(name, Place::File(path.to_owned()));
        }
    }

    /// By what its name tells of its kind.
    fn add(&mut self, name: String, place: Place) {
        let parsed = ObjectName::parse(&name);
        match parsed.kind {
            Kind::Digest => self.digests += 1,
            Kind::Insight => self.insights += 1,
            Kind::Aggregated => self.aggregated += 1,
            Kind::NetworkActivity => self.network_activity += 1,
            Kind::CloudTrail | Kind::Other => {
                let delivered = parsed.delivered;
                self.objects.push(Object { name, place, delivered });
            }
        }
    }
}
