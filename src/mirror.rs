//! [`Mirror`]: the state directory kept in a bucket too, so that a sidecar without a disk of its own, or on another
//! machine, goes on where the last one stopped. What is not in the bucket is not yet safe. One writer at a time: every
//! object that decides is written only where there is none. Knows files by their names, and not what is in them.
//!
//! In the bucket, below the prefix: `snapshot-N`, with the lines that it relies on; `journal-N/OFFSET`, what the journal
//! grew by there; an empty one closes the journal, so that whoever thinks it is still the writer hears otherwise. `notes/`
//! holds what may be a little old: positions of sinks, mutes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use tracing::{info, warn};

use crate::source::aws::{Buckets, config, for_uploads};
use crate::store::state;

/// A snapshot, and what it relies on.
const SNAPSHOT: &str = "snapshot";
const LINES: [&str; 3] = ["insights.jsonl", "near.jsonl", "rejects.jsonl"];

/// Notes are copied at most so often.
const NOTES_EVERY: Duration = Duration::from_secs(10);

/// What else is not copied: made anew, of no promise, or for this machine alone.
const NOT_COPIED: [&str; 6] = ["lock", "mutes.lock", SNAPSHOT, "summary.json", "provisional.jsonl", "report.html"];

/// Somebody else writes here now: whatever was not told as safe is theirs.
#[derive(Debug, thiserror::Error)]
#[error("another sidecar has taken over s3://{0}; this one ends, and nothing is lost")]
pub struct TakenOver(String);

pub struct Mirror {
    client: Client,
    bucket: String,
    /// Empty, or ending in `/`.
    prefix: String,
    directory: PathBuf,
    /// Which snapshot the bucket has, and how much of the journal after it.
    number: Option<u64>,
    journal_bytes: u64,
    notes: BTreeMap<String, (SystemTime, u64)>,
    noted: Option<Instant>,
}

impl Mirror {
    /// `place`: bucket and prefix.
    pub async fn new((bucket, prefix): (String, String), role_arn: Option<&str>, directory: &Path) -> Mirror {
        Mirror {
            client: Buckets::new(for_uploads(config(None, role_arn).await)).client(None),
            bucket,
            prefix,
            directory: directory.to_owned(),
            number: None,
            journal_bytes: 0,
            notes: BTreeMap::new(),
            noted: None,
        }
    }

    /// Makes the directory what the bucket says, and takes the place of whoever wrote there. Where the bucket has
    /// nothing yet, the directory stays as it is. The next thing to do is a snapshot, and [`Mirror::follow`].
    pub async fn fetch(&mut self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory).with_context(|| self.directory.display().to_string())?;
        let Some(_lock) = state::lock(&self.directory).context("lock")? else {
            bail!(
                "{} is in use by another highwater watch; each needs a directory of its own",
                self.directory.display()
            );
        };
        loop {
            let Some(number) = self.newest().await? else { return Ok(()) };
            let pieces = self.list(&format!("journal-{number}/")).await?;
            let mut journal = Vec::new();
            let mut is_closed = false;
            for (key, bytes) in &pieces {
                if *bytes == 0 {
                    is_closed = true;
                    break;
                }
                journal.extend(self.get(key).await?);
            }
            // From now on nobody adds to it.
            let end = format!("journal-{number}/{:020}", journal.len());
            if !is_closed && !self.create(&end, Vec::new()).await? {
                continue;
            }
            // Nobody but the last writer has all of its journal.
            let local = fs::read(self.directory.join(format!("journal-{number}"))).ok();
            let was_last = !is_closed && local.is_some_and(|local| local.starts_with(&journal));
            for name in
                fs::read_dir(&self.directory)?.flatten().filter_map(|entry| entry.file_name().into_string().ok())
            {
                if name.starts_with("journal-") || name == SNAPSHOT || LINES.contains(&name.as_str()) {
                    fs::remove_file(self.directory.join(&name)).with_context(|| name.clone())?;
                }
            }
            for (key, _) in self.list("notes/").await? {
                let name = key.rsplit('/').next().unwrap_or_default();
                // Whoever was the last writer has them newer: some may not have been copied before it ended.
                if !was_last || !self.directory.join(name).exists() {
                    self.write(name, &self.get(&key).await?)?;
                }
            }
            self.write(&format!("journal-{number}"), &journal)?;
            let key = self.key(&format!("snapshot-{number}"));
            let files: Vec<(String, Vec<u8>)> = postcard::from_bytes(&self.get(&key).await?)
                .with_context(|| format!("s3://{}/{key} is no snapshot of a state", self.bucket))?;
            // The snapshot is the last: without it the rest is nothing.
            for (name, bytes) in files.iter().filter(|(name, _)| name == SNAPSHOT || LINES.contains(&name.as_str())) {
                self.write(name, bytes)?;
            }
            (self.number, self.journal_bytes) = (Some(number), journal.len() as u64);
            info!(bucket = %self.bucket, prefix = %self.prefix, snapshot = number, "the state was fetched");
            return Ok(());
        }
    }

    /// Copies what the directory, whose journal has this number, has beyond the bucket. Only then is it safe.
    pub async fn follow(&mut self, number: u64) -> anyhow::Result<()> {
        if self.number != Some(number) {
            if let Some(before) = self.number {
                self.close(before).await?;
            }
            let mut files = Vec::new();
            for name in LINES.into_iter().chain([SNAPSHOT]) {
                let path = self.directory.join(name);
                files.push((name, fs::read(&path).with_context(|| path.display().to_string())?));
            }
            if !self.create(&format!("snapshot-{number}"), postcard::to_stdvec(&files)?).await? {
                bail!(self.taken_over());
            }
            (self.number, self.journal_bytes) = (Some(number), 0);
            self.forget_older(number).await;
        }
        let mut piece = Vec::new();
        let name = format!("journal-{number}");
        let mut journal = File::open(self.directory.join(&name)).with_context(|| name.clone())?;
        journal
            .seek(SeekFrom::Start(self.journal_bytes))
            .and_then(|_| journal.read_to_end(&mut piece))
            .context(name)?;
        if !piece.is_empty() {
            let (key, bytes) = (format!("journal-{number}/{:020}", self.journal_bytes), piece.len() as u64);
            if !self.create(&key, piece).await? {
                bail!(self.taken_over());
            }
            self.journal_bytes += bytes;
        }
        if self.noted.is_none_or(|noted| noted.elapsed() >= NOTES_EVERY) {
            self.noted = Some(Instant::now());
            self.note().await?;
        }
        Ok(())
    }

    /// What the sinks have reached and what is muted, once more, at the end.
    pub async fn note(&mut self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let is_note = metadata.is_file()
                && !name.starts_with("journal-")
                && !name.ends_with(".partial")
                && !LINES.contains(&name.as_str())
                && !NOT_COPIED.contains(&name.as_str());
            let Ok(modified) = metadata.modified() else { continue };
            let version = (modified, metadata.len());
            if !is_note || self.notes.get(&name) == Some(&version) {
                continue;
            }
            // It may be replaced while we look.
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            self.put(&format!("notes/{name}"), bytes).await?;
            self.notes.insert(name, version);
        }
        Ok(())
    }

    /// Whoever still writes there is told so. Only where we were the writer ourselves.
    async fn close(&self, number: u64) -> anyhow::Result<()> {
        let key = format!("journal-{number}/{:020}", self.journal_bytes);
        // After a failure it may be our own that is there.
        if !self.create(&key, Vec::new()).await? && !self.get(&self.key(&key)).await?.is_empty() {
            bail!(self.taken_over());
        }
        Ok(())
    }

    fn taken_over(&self) -> TakenOver {
        TakenOver(format!("{}/{}", self.bucket, self.prefix))
    }

    /// Of the newest snapshot.
    async fn newest(&self) -> anyhow::Result<Option<u64>> {
        let names = self.list("snapshot-").await?;
        Ok(names.iter().filter_map(|(key, _)| key.rsplit('-').next()?.parse().ok()).max())
    }

    /// What older snapshots needed. It takes room and does no harm.
    async fn forget_older(&self, number: u64) {
        for part in ["snapshot-", "journal-"] {
            let Ok(keys) = self.list(part).await else { continue };
            let start = self.key(part).len();
            for (key, _) in keys {
                let of = key[start..].split('/').next().and_then(|of| of.parse::<u64>().ok());
                if of.is_some_and(|of| of + 1 < number)
                    && let Err(error) = self.client.delete_object().bucket(&self.bucket).key(&key).send().await
                {
                    warn!(%key, error = %told(&error), "what is no longer needed cannot be removed");
                    return;
                }
            }
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let written = File::create(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()));
        written.with_context(|| path.display().to_string())
    }

    /// Keys in their order, with their sizes.
    async fn list(&self, name: &str) -> anyhow::Result<Vec<(String, i64)>> {
        let prefix = self.key(name);
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("listing", &prefix, &error))?;
            keys.extend(
                page.contents()
                    .iter()
                    .filter_map(|object| Some((object.key()?.to_owned(), object.size().unwrap_or(0)))),
            );
        }
        keys.sort();
        Ok(keys)
    }

    async fn get(&self, key: &str) -> anyhow::Result<Vec<u8>> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let object = object.map_err(|error| self.failed("reading", key, &error))?;
        let bytes = object.body.collect().await.with_context(|| format!("reading s3://{}/{key}", self.bucket))?;
        Ok(bytes.to_vec())
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let key = self.key(name);
        let put = self.client.put_object().bucket(&self.bucket).key(&key).body(ByteStream::from(bytes)).send().await;
        put.map(|_| ()).map_err(|error| self.failed("writing", &key, &error))
    }

    /// False: there is one already.
    async fn create(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<bool> {
        let key = self.key(name);
        let put = self.client.put_object().bucket(&self.bucket).key(&key).if_none_match("*");
        match put.body(ByteStream::from(bytes.clone())).send().await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.code(), Some("PreconditionFailed" | "ConditionalRequestConflict")) => {
                // An answer may have been lost on its way: then what is there is ours.
                let there = self.get(&key).await?;
                Ok(!there.is_empty() && there == bytes)
            }
            Err(error) => Err(self.failed("writing", &key, &error)),
        }
    }

    fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(
        &self,
        what: &str,
        key: &str,
        error: &SdkError<E>,
    ) -> anyhow::Error {
        anyhow::anyhow!("{what} s3://{}/{key}: {}", self.bucket, told(error))
    }
}

fn told<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => aws_sdk_s3::error::DisplayErrorContext(error).to_string(),
    }
}
