//! [`Kinds`]: what open rows have in common, each once and numbered, with how many rows there are of it and what its
//! names take; and [`Named`], the few that some of the rows need. Knows no minutes.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::frames::{FrameReader, Frames};
use super::numbered::Numbered;
use super::shared::SharedLists;
use super::{CALLER_FIELDS, Dictionary};

/// What many rows have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Kind {
    pub(super) api: u32,
    pub(super) caller: u32,
    pub(super) addendum: bool,
    pub(super) read_only: bool,
}

/// A kind, and a caller beside its text: what is kept of them, and their places in the tables.
const BYTES_PER_KIND: usize = size_of::<Kind>() + 10;
const BYTES_PER_CALLER: usize = 30;

#[derive(Default)]
pub(super) struct Kinds {
    pub(super) apis: SharedLists<5>,
    pub(super) callers: SharedLists<CALLER_FIELDS>,
    kinds: Numbered<Kind>,
    /// By number of the kind: open rows of it. By number of the caller: kinds that have any.
    rows: Vec<u32>,
    caller_kinds: Vec<u32>,
    /// Kinds that have any rows.
    in_use: usize,
    bytes: usize,
}

impl Kinds {
    /// The number of a kind, new or known.
    pub(super) fn number(&mut self, kind: Kind) -> u32 {
        let number = self.kinds.number(kind);
        if self.rows.len() < self.kinds.len() {
            self.rows.push(0);
        }
        if self.caller_kinds.len() < self.callers.len() {
            self.caller_kinds.resize(self.callers.len(), 0);
        }
        number
    }

    pub(super) fn get(&self, kind: u32) -> Kind {
        self.kinds[kind as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Those that no row needs any more are a third of all.
    pub(super) fn has_grown(&self) -> bool {
        self.kinds.len() > self.in_use + self.in_use / 2
    }

    /// About how much memory the kinds and callers of open rows take; of the same rows, the same.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn bytes_of_caller(&self, caller: u32) -> usize {
        BYTES_PER_CALLER + self.callers.get(caller).iter().map(|field| field.len()).sum::<usize>()
    }

    /// A row more of a kind.
    pub(super) fn add(&mut self, kind: u32) {
        let rows = &mut self.rows[kind as usize];
        *rows += 1;
        if *rows == 1 {
            let caller = self.kinds[kind as usize].caller;
            self.in_use += 1;
            self.bytes += BYTES_PER_KIND;
            self.caller_kinds[caller as usize] += 1;
            if self.caller_kinds[caller as usize] == 1 {
                self.bytes += self.bytes_of_caller(caller);
            }
        }
    }

    /// A row less.
    pub(super) fn remove(&mut self, kind: u32) {
        let rows = &mut self.rows[kind as usize];
        *rows -= 1;
        if *rows == 0 {
            let caller = self.kinds[kind as usize].caller;
            self.in_use -= 1;
            self.bytes -= BYTES_PER_KIND;
            self.caller_kinds[caller as usize] -= 1;
            if self.caller_kinds[caller as usize] == 0 {
                self.bytes -= self.bytes_of_caller(caller);
            }
        }
    }

    /// Those that a row needs, as often as here, and by the number here the number there.
    pub(super) fn needed(&self) -> (Kinds, Vec<u32>) {
        let mut needed = Kinds::default();
        let mut renamed = vec![u32::MAX; self.kinds.len()];
        for (old, kind) in self.kinds.iter().enumerate().filter(|(old, _)| self.rows[*old] > 0) {
            let api = needed.apis.intern(&self.apis.get(kind.api));
            let caller = needed.callers.intern(&self.callers.get(kind.caller));
            let new = needed.number(Kind { api, caller, ..*kind });
            needed.add(new);
            needed.rows[new as usize] = self.rows[old];
            renamed[old] = new;
        }
        (needed, renamed)
    }

    /// All of it but the rows, which are counted again as they come back.
    pub(super) fn write(&self, to: &mut Frames<impl Write>) -> io::Result<()> {
        to.put(&(self.apis.len(), self.callers.len()))?;
        (0..self.apis.len() as u32).try_for_each(|id| to.put(&self.apis.get(id)))?;
        (0..self.callers.len() as u32).try_for_each(|id| to.put(&self.callers.get(id)))?;
        to.put(&&self.kinds[..])
    }

    /// Takes what was written; nothing is in it yet.
    pub(super) fn read<R: Read>(&mut self, from: &mut FrameReader<R>) -> io::Result<()> {
        let (apis, callers): (usize, usize) = from.take()?;
        for _ in 0..apis {
            self.apis.intern(&from.take::<[String; 5]>()?.each_ref().map(String::as_str));
        }
        for _ in 0..callers {
            self.callers.intern(&from.take::<[String; CALLER_FIELDS]>()?.each_ref().map(String::as_str));
        }
        for kind in from.take::<Vec<Kind>>()? {
            if kind.api as usize >= self.apis.len() || kind.caller as usize >= self.callers.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.number(kind);
        }
        Ok(())
    }
}

/// The numbers and names of some rows' kinds: only those that they need.
pub(super) struct Named<'a> {
    kinds: &'a Kinds,
    /// By number of the kind: the numbers in `names`.
    known: Vec<(u32, u32)>,
    names: (Dictionary<5>, Dictionary<CALLER_FIELDS>),
}

impl<'a> Named<'a> {
    pub(super) fn of(kinds: &'a Kinds) -> Named<'a> {
        Named { kinds, known: vec![(u32::MAX, 0); kinds.len()], names: Default::default() }
    }

    /// The kind with the numbers of the names that will be handed over.
    pub(super) fn kind(&mut self, number: u32) -> Kind {
        let kind = self.kinds.get(number);
        let known = &mut self.known[number as usize];
        if known.0 == u32::MAX {
            let (apis, callers) = &mut self.names;
            *known =
                (apis.intern(&self.kinds.apis.get(kind.api)), callers.intern(&self.kinds.callers.get(kind.caller)));
        }
        Kind { api: known.0, caller: known.1, ..kind }
    }

    pub(super) fn names(self) -> (Dictionary<5>, Dictionary<CALLER_FIELDS>) {
        self.names
    }
}
