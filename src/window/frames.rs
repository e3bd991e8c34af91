//! Values one after another, each behind its length: a state too large to be held twice goes to a file and comes back one
//! value at a time. Knows no file.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes values.
pub struct Frames<W> {
    to: W,
    buffer: Vec<u8>,
}

impl<W: Write> Frames<W> {
    pub fn to(to: W) -> Frames<W> {
        Frames { to, buffer: Vec::new() }
    }

    pub fn put(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.buffer.clear();
        postcard::to_io(value, &mut self.buffer).map_err(io::Error::other)?;
        let length = u32::try_from(self.buffer.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&self.buffer)
    }
}

/// Reads them in the same order.
pub struct FrameReader<R> {
    from: R,
    buffer: Vec<u8>,
}

impl<R: Read> FrameReader<R> {
    pub fn from(from: R) -> FrameReader<R> {
        FrameReader { from, buffer: Vec::new() }
    }

    /// What follows the values taken.
    pub fn into_inner(self) -> R {
        self.from
    }

    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        self.buffer.clear();
        // What is not there takes no room, whatever its length says.
        if (&mut self.from).take(length).read_to_end(&mut self.buffer)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        postcard::from_bytes(&self.buffer).map_err(io::Error::other)
    }
}
