//! [`Aside`]: pieces of rows of one size that lie in a file instead of in memory until their minute is closed. Knows no
//! minutes, and of the file only that it can be read and written at any place.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use super::open::{PIECE_ROWS, Slim};

const ROW_BYTES: usize = 12;
const PIECE_BYTES: usize = PIECE_ROWS * ROW_BYTES;

/// What rows can be put aside into: a file that nobody else writes to.
pub trait Shelf: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Shelf for T {}

pub(super) struct Aside {
    shelf: Mutex<Box<dyn Shelf>>,
    /// Pieces that there is room for by now, and those whose room is free.
    places: u32,
    free: Vec<u32>,
}

impl Aside {
    pub(super) fn on(shelf: Box<dyn Shelf>) -> Aside {
        Aside { shelf: Mutex::new(shelf), places: 0, free: Vec::new() }
    }

    /// Where a piece begins; whoever has panicked there has left nothing that matters.
    fn at<T>(&self, place: u32, go_on: impl FnOnce(&mut dyn Shelf) -> io::Result<T>) -> io::Result<T> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.seek(SeekFrom::Start(u64::from(place) * PIECE_BYTES as u64))?;
        go_on(&mut **shelf)
    }

    /// Takes [`PIECE_ROWS`] rows and says where they are. If it fails nothing has changed.
    pub(super) fn put(&mut self, rows: &[Slim]) -> io::Result<u32> {
        let place = self.free.last().copied().unwrap_or(self.places);
        self.overwrite(place, rows)?;
        if self.free.pop().is_none() {
            self.places += 1;
        }
        Ok(place)
    }

    /// Puts as many others in their place.
    pub(super) fn overwrite(&self, place: u32, rows: &[Slim]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(PIECE_BYTES);
        for Slim { kind, id: [high, low] } in rows {
            [kind, high, low].into_iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        self.at(place, |shelf| shelf.write_all(&bytes))
    }

    pub(super) fn get(&self, place: u32) -> io::Result<Vec<Slim>> {
        let mut bytes = vec![0; PIECE_BYTES];
        self.at(place, |shelf| shelf.read_exact(&mut bytes))?;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let row = |bytes: &[u8]| Slim { kind: word(bytes), id: [word(&bytes[4..]), word(&bytes[8..])] };
        Ok(bytes.chunks_exact(ROW_BYTES).map(row).collect())
    }

    /// Others may take this room.
    pub(super) fn free(&mut self, place: u32) {
        self.free.push(place);
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> u32 {
        self.places
    }
}
