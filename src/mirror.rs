//! [`Mirror`]: the state directory kept in a bucket too, so that a sidecar without a disk of its own, or on another
//! machine, goes on where the last one stopped. What is not in the bucket is not yet safe. One writer at a time: every
//! object that decides is written only where there is none. Knows files by their names, and not what is in them.
//!
//! In the bucket, below the prefix: `snapshot-N`, a [`Manifest`] of what belongs to it: `state-N/ID`, the snapshot's own
//! bytes, and `lines-N/NAME/OFFSET-ID`, what a file of lines grew by; `journal-N/OFFSET`, what the journal grew by; an
//! empty one closes the journal, so that whoever thinks it is still the writer hears otherwise. `notes/` holds what may be
//! a little old: what sinks have reached and what was refused, mutes. Nothing else leaves the directory: people keep
//! their configuration and secrets there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow, bail, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio_util::bytes::Bytes;
use tracing::{info, warn};
use uuid::Uuid;

use crate::source::aws::{Buckets, config, for_uploads};
use crate::source::bucket::{is_final, words};
use crate::store::state;

/// A snapshot, and what it relies on.
const SNAPSHOT: &str = "snapshot";
const LINES: [&str; 3] = ["insights.jsonl", "near.jsonl", "rejects.jsonl"];

/// A piece of a file of lines that has grown so large stays as it is; smaller ones are put together, so that a file of any
/// age is few pieces. One piece is in memory at a time.
const PIECE_BYTES: u64 = 64 << 20;

/// In the directory alone: the key of the state that it put into the bucket last.
const MIRRORED: &str = "mirrored";

/// A journal may be thousands of small pieces, and whoever writes it does not wait for us.
const PIECES_AT_ONCE: usize = 32;

/// As many as one request may name.
const DELETES_AT_ONCE: usize = 1_000;

/// Notes are copied at most so often.
const NOTES_EVERY: Duration = Duration::from_secs(10);

/// Whether a file is one of those that are copied as they are, from the directory and to it.
fn is_note(name: &str) -> bool {
    let is_of_a_sink = name.starts_with("sink-") && (name.ends_with(".json") || name.ends_with(".refused.jsonl"));
    (is_of_a_sink || name == "mutes.json") && !name.contains('/')
}

/// Somebody else writes here now: whatever was not told as safe is theirs.
#[derive(Debug, thiserror::Error)]
#[error("another sidecar has taken over s3://{0}; this one ends, and nothing is lost")]
pub struct TakenOver(String);

/// The bucket did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub struct Failed {
    words: String,
    /// Asking again may help.
    pub is_passing: bool,
}

/// What a snapshot consists of: written last, and only where there is none.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Manifest {
    /// Without the prefix, as all keys in it.
    state: String,
    lines: BTreeMap<String, Vec<Piece>>,
}

/// Of a file, from where the one before it ends.
#[derive(Clone, Serialize, Deserialize)]
struct Piece {
    key: String,
    bytes: u64,
}

pub struct Mirror {
    client: Client,
    bucket: String,
    /// Empty, or ending in `/`.
    prefix: String,
    directory: PathBuf,
    /// Which snapshot the bucket has, and how much of the journal after it.
    number: Option<u64>,
    manifest: Manifest,
    /// What is to be written under a number next: the same bytes until it is known that they are there.
    next: Option<(u64, Manifest)>,
    journal_bytes: u64,
    /// The next piece of that journal: the same bytes until it is known that they are there, however much it has grown.
    piece: Option<Bytes>,
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
            manifest: Manifest::default(),
            next: None,
            journal_bytes: 0,
            piece: None,
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
        while let Some(number) = self.newest().await? {
            let fetched = self.fetch_snapshot(number).await;
            // Whoever writes there may go on, and remove what we were reading, until its journal is closed.
            if self.newest().await? == Some(number) {
                fetched?;
                info!(bucket = %self.bucket, prefix = %self.prefix, snapshot = number, "the state was fetched");
                break;
            }
        }
        Ok(())
    }

    /// Closes the journal of a snapshot, and makes the directory what these say.
    async fn fetch_snapshot(&mut self, number: u64) -> anyhow::Result<()> {
        let (journal, was_open) = self.close_journal(number).await?;
        let key = self.key(&format!("snapshot-{number}"));
        let manifest: Manifest = serde_json::from_slice(&self.get(&key).await?).map_err(|error| {
            anyhow!("s3://{}/{key} is no snapshot that this version of Highwater wrote: {error}", self.bucket)
        })?;
        let mirrored = fs::read(self.directory.join(MIRRORED)).ok();
        let was_last = was_open && mirrored.is_some_and(|mirrored| mirrored == manifest.state.as_bytes());
        for name in fs::read_dir(&self.directory)?.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.starts_with("journal-") || name == SNAPSHOT || LINES.contains(&name.as_str()) {
                fs::remove_file(self.directory.join(&name)).with_context(|| name.clone())?;
            }
        }
        for (key, _) in self.list("notes/", None).await? {
            let name = &key[self.key("notes/").len()..];
            // Whoever was the last writer has them newer: some may not have been copied before it ended.
            if is_note(name) && !(was_last && self.directory.join(name).exists()) {
                self.write(name, &self.get(&key).await?)?;
            }
        }
        self.write(&format!("journal-{number}"), &journal)?;
        for (name, pieces) in manifest.lines.iter().filter(|(name, _)| LINES.contains(&name.as_str())) {
            self.fetch_lines(name, pieces).await?;
        }
        // The snapshot is the last: without it the rest is nothing.
        self.write(SNAPSHOT, &self.get(&self.key(&manifest.state)).await?)?;
        self.manifest = manifest;
        (self.number, self.journal_bytes) = (Some(number), journal.len() as u64);
        Ok(())
    }

    /// All of a journal, to which nobody adds from then on; and whether it was still open.
    async fn close_journal(&self, number: u64) -> anyhow::Result<(Vec<u8>, bool)> {
        let (mut journal, mut last) = (Vec::new(), None);
        loop {
            let mut pieces = self.list(&format!("journal-{number}/"), last.as_deref()).await?;
            let is_closed = pieces.pop_if(|(_, bytes)| *bytes == 0).is_some();
            let keys: Vec<String> = pieces.into_iter().map(|(key, _)| key).collect();
            for keys in keys.chunks(PIECES_AT_ONCE) {
                journal.extend(try_join_all(keys.iter().map(|key| self.get(key))).await?.concat());
            }
            last = keys.into_iter().last().or(last);
            if is_closed {
                return Ok((journal, false));
            }
            // What was added meanwhile is little.
            if self.create(&format!("journal-{number}/{:020}", journal.len()), Bytes::new()).await? {
                return Ok((journal, true));
            }
        }
    }

    /// Copies what the directory, whose journal has this number, has beyond the bucket. Only then is it safe.
    pub async fn follow(&mut self, number: u64) -> anyhow::Result<()> {
        // Also where the journal is another one by now.
        self.add_piece().await?;
        if self.number != Some(number) {
            if let Some(before) = self.number {
                self.close(before).await?;
            }
            let manifest = match self.next.take().filter(|(of, _)| *of == number) {
                Some((_, manifest)) => manifest,
                None => self.follow_snapshot(number).await?,
            };
            self.next = Some((number, manifest.clone()));
            // Before it is there: where the disk does not take it, the same is tried again.
            self.write(MIRRORED, manifest.state.as_bytes())?;
            if !self.create(&format!("snapshot-{number}"), serde_json::to_vec(&manifest)?.into()).await? {
                bail!(self.taken_over());
            }
            self.next = None;
            let before = std::mem::replace(&mut self.manifest, manifest);
            (self.number, self.journal_bytes) = (Some(number), 0);
            self.forget_older(number, &before).await;
        }
        let piece = self.read(&format!("journal-{number}"), self.journal_bytes, u64::MAX)?;
        self.piece = Some(piece).filter(|piece| !piece.is_empty());
        self.add_piece().await?;
        if self.noted.is_none_or(|noted| noted.elapsed() >= NOTES_EVERY) {
            self.noted = Some(Instant::now());
            self.note().await?;
        }
        Ok(())
    }

    /// Puts the piece in hand where the journal in the bucket ends.
    async fn add_piece(&mut self) -> anyhow::Result<()> {
        let (Some(number), Some(piece)) = (self.number, self.piece.clone()) else { return Ok(()) };
        let bytes = piece.len() as u64;
        if !self.create(&format!("journal-{number}/{:020}", self.journal_bytes), piece).await? {
            bail!(self.taken_over());
        }
        self.journal_bytes += bytes;
        self.piece = None;
        Ok(())
    }

    /// Puts what a snapshot consists of into the bucket, all but its manifest.
    async fn follow_snapshot(&self, number: u64) -> anyhow::Result<Manifest> {
        let mut manifest = Manifest::default();
        for name in LINES {
            manifest.lines.insert(name.to_owned(), self.follow_lines(number, name).await?);
        }
        manifest.state = format!("state-{number}/{}", Uuid::new_v4().simple());
        self.put(&manifest.state, self.read(SNAPSHOT, 0, u64::MAX)?).await?;
        Ok(manifest)
    }

    /// Puts what a file of lines has beyond its pieces into the bucket, together with the last of them while these are no
    /// larger: so their number grows with the logarithm of the file. What is taken out stays where it is, for the
    /// snapshot before.
    async fn follow_lines(&self, number: u64, name: &str) -> anyhow::Result<Vec<Piece>> {
        let path = self.directory.join(name);
        let end = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        let mut pieces = self.manifest.lines.get(name).cloned().unwrap_or_default();
        let mut start: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        if start > end {
            // Not the file that we knew.
            (start, pieces) = (0, Vec::new());
        }
        while start < end && pieces.last().is_some_and(|last| last.bytes < PIECE_BYTES.min(end - start + 1)) {
            start -= pieces.pop().map_or(0, |last| last.bytes);
        }
        while start < end {
            let bytes = self.read(name, start, PIECE_BYTES.min(end - start))?;
            let (id, length) = (Uuid::new_v4().simple(), bytes.len() as u64);
            ensure!(length > 0, "{} has become shorter", path.display());
            let key = format!("lines-{number}/{name}/{start:020}-{id}");
            self.put(&key, bytes).await?;
            pieces.push(Piece { key, bytes: length });
            start += length;
        }
        Ok(pieces)
    }

    async fn fetch_lines(&self, name: &str, pieces: &[Piece]) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        for piece in pieces {
            let bytes = self.get(&self.key(&piece.key)).await?;
            ensure!(
                bytes.len() as u64 == piece.bytes,
                "s3://{}/{} has {} bytes, and should have {}",
                self.bucket,
                self.key(&piece.key),
                bytes.len(),
                piece.bytes
            );
            file.write_all(&bytes).with_context(|| path.display().to_string())?;
        }
        file.sync_all().with_context(|| path.display().to_string())
    }

    /// What the sinks have reached and what is muted, once more, at the end.
    pub async fn note(&mut self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(modified) = metadata.modified() else { continue };
            let version = (modified, metadata.len());
            if !metadata.is_file() || !is_note(&name) || self.notes.get(&name) == Some(&version) {
                continue;
            }
            // It may be replaced while we look.
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            self.put(&format!("notes/{name}"), bytes.into()).await?;
            self.notes.insert(name, version);
        }
        Ok(())
    }

    /// Whoever still writes there is told so. Only where we were the writer ourselves.
    async fn close(&self, number: u64) -> anyhow::Result<()> {
        let key = format!("journal-{number}/{:020}", self.journal_bytes);
        // After a failure it may be our own that is there.
        if !self.create(&key, Bytes::new()).await? && !self.get(&self.key(&key)).await?.is_empty() {
            bail!(self.taken_over());
        }
        Ok(())
    }

    fn taken_over(&self) -> TakenOver {
        TakenOver(format!("{}/{}", self.bucket, self.prefix))
    }

    /// Of the newest snapshot.
    async fn newest(&self) -> anyhow::Result<Option<u64>> {
        let names = self.list("snapshot-", None).await?;
        Ok(names.iter().filter_map(|(key, _)| key.rsplit('-').next()?.parse().ok()).max())
    }

    /// What older snapshots needed; the last one is left. It takes room and does no harm.
    async fn forget_older(&self, number: u64, before: &Manifest) {
        let lines = [before, &self.manifest].into_iter().flat_map(|manifest| manifest.lines.values());
        let needed: BTreeSet<&str> = lines.flatten().map(|piece| piece.key.as_str()).collect();
        for part in ["snapshot-", "state-", "journal-", "lines-"] {
            let Ok(mut keys) = self.list(part, None).await else { continue };
            let start = self.key(part).len();
            keys.retain(|(key, _)| {
                // Whoever takes over writes under a higher number: it is never its piece that is removed.
                let of = key[start..].split('/').next().and_then(|of| of.parse::<u64>().ok());
                of.is_some_and(|of| of + 1 < number) && !needed.contains(&key[self.prefix.len()..])
            });
            for keys in keys.chunks(DELETES_AT_ONCE) {
                if let Err(reason) = self.delete(keys).await {
                    warn!(%reason, "what is no longer needed cannot be removed");
                    return;
                }
            }
        }
    }

    async fn delete(&self, keys: &[(String, i64)]) -> Result<(), String> {
        let named = |(key, _): &(String, i64)| ObjectIdentifier::builder().key(key).build();
        let keys = keys.iter().map(named).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let delete =
            Delete::builder().set_objects(Some(keys)).quiet(true).build().map_err(|error| error.to_string())?;
        let deleted = self.client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
        match deleted.map_err(|error| words(&error))?.errors().first() {
            Some(error) => Err(format!(
                "{}: {}",
                error.key().unwrap_or_default(),
                error.message().or(error.code()).unwrap_or_default()
            )),
            None => Ok(()),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Of a file in the directory, from an offset on, at most so many bytes.
    fn read(&self, name: &str, start: u64, length: u64) -> anyhow::Result<Bytes> {
        let path = self.directory.join(name);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(start))?;
                file.take(length).read_to_end(&mut bytes)
            })
            .with_context(|| path.display().to_string())?;
        Ok(bytes.into())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let written = File::create(&path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        written.with_context(|| path.display().to_string())
    }

    /// Keys in their order, with their sizes; those after a key.
    async fn list(&self, name: &str, after: Option<&str>) -> anyhow::Result<Vec<(String, i64)>> {
        let prefix = self.key(name);
        let asked = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix);
        let mut pages = asked.set_start_after(after.map(str::to_owned)).into_paginator().send();
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

    async fn get(&self, key: &str) -> anyhow::Result<Bytes> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let object = object.map_err(|error| self.failed("reading", key, &error))?;
        let bytes = object.body.collect().await.map_err(|error| {
            let words = format!("reading s3://{}/{key}: the answer broke off: {error}", self.bucket);
            Failed { words, is_passing: true }
        })?;
        Ok(bytes.into_bytes())
    }

    async fn put(&self, name: &str, bytes: Bytes) -> anyhow::Result<()> {
        let key = self.key(name);
        let put = self.client.put_object().bucket(&self.bucket).key(&key).body(ByteStream::from(bytes)).send().await;
        put.map(|_| ()).map_err(|error| self.failed("writing", &key, &error))
    }

    /// False: there is one already.
    async fn create(&self, name: &str, bytes: Bytes) -> anyhow::Result<bool> {
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
        let status = error.raw_response().map(|response| response.status().as_u16());
        let words = format!("{what} s3://{}/{key}: {}", self.bucket, words(error));
        Failed { words, is_passing: !is_final(status, error.code()) }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_keep_in_the_directory_is_no_note() {
        for name in ["mutes.json", "sink-slack.json", "sink-webhook-a.example-0f.json", "sink-slack.refused.jsonl"] {
            assert!(is_note(name), "{name}");
        }
        for name in [
            "highwater.toml",
            "slack-token",
            "sink-slack",
            "sink-slack.partial",
            "sink-/../x.json",
            "../mutes.json",
            "mutes.partial",
            "mutes.lock",
            "insights.jsonl",
            "snapshot",
            "journal-3",
            "lock",
            "",
        ] {
            assert!(!is_note(name), "{name}");
        }
    }
}
