//! Gzip: the bytes of one stored object become bytes of text, fast where the stream is whole, patiently where it is
//! broken or has several members. Knows nothing of what the text holds.

use std::io::Read;

use flate2::bufread::GzDecoder;
use libdeflater::{DecompressionError, Decompressor};
use memchr::memmem;

/// DEFLATE cannot expand further: 258 bytes for every 2 bits. A size field that promises more is lying.
const DEFLATE_RATIO_MAX: usize = 1_032;

/// Output per step while recovering a broken stream. What the decoder wrote in its last step is lost with the error,
/// so a step is shorter than an ordinary record.
const RECOVERY_STEP_BYTES: usize = 1_024;

/// The text would exceed the limit.
pub(super) struct TooLarge;

pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Decompresses into the start of `buffer`. Returns the length of the text and, if the stream was broken, how.
pub(super) fn gunzip(
    decompressor: &mut Decompressor,
    bytes: &[u8],
    text_bytes_max: usize,
    buffer: &mut Vec<u8>,
) -> Result<(usize, Option<String>), TooLarge> {
    // The last four bytes promise the size of the text (modulo 4 GiB, of the last member). Only a hint.
    let promised = bytes.last_chunk().map_or(0, |size| u32::from_le_bytes(*size));
    let possible = bytes.len().saturating_mul(DEFLATE_RATIO_MAX);
    let mut room = (promised as usize).min(possible).max(bytes.len()).min(text_bytes_max);
    loop {
        if buffer.len() < room {
            // A new vector of zeros costs no work for pages that are never written.
            *buffer = vec![0; room];
        }
        let room_given = buffer.len().min(text_bytes_max);
        match decompressor.gzip_decompress(bytes, &mut buffer[..room_given]) {
            Ok(len) if len as u32 == promised && !may_have_second_member(bytes) => return Ok((len, None)),
            Err(DecompressionError::InsufficientSpace) if room_given == text_bytes_max => return Err(TooLarge),
            Err(DecompressionError::InsufficientSpace) => room = room_given.saturating_mul(2).min(text_bytes_max),
            Ok(_) | Err(DecompressionError::BadData) => break,
        }
    }
    gunzip_in_steps(bytes, text_bytes_max, buffer)
}

/// libdeflate reads one member and does not say where it ended. Chance finds are harmless: they only cost time.
fn may_have_second_member(bytes: &[u8]) -> bool {
    bytes.get(2..).is_some_and(|rest| memmem::find(rest, &[0x1f, 0x8b, 8]).is_some())
}

/// The patient way, for several members in a row and for broken streams.
fn gunzip_in_steps(
    bytes: &[u8],
    text_bytes_max: usize,
    buffer: &mut Vec<u8>,
) -> Result<(usize, Option<String>), TooLarge> {
    let mut len = 0;
    let mut rest = bytes;
    loop {
        let mut decoder = GzDecoder::new(rest);
        loop {
            if buffer.len() < len + RECOVERY_STEP_BYTES {
                let room = (2 * len).min(text_bytes_max) + RECOVERY_STEP_BYTES;
                buffer.resize(room.max(len + RECOVERY_STEP_BYTES), 0);
            }
            match decoder.read(&mut buffer[len..len + RECOVERY_STEP_BYTES]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) => return Ok((len, Some(format!("the gzip stream is broken: {error}")))),
            }
            if len > text_bytes_max {
                return Err(TooLarge);
            }
        }
        rest = decoder.into_inner();
        // Tools that write whole blocks pad with zeros.
        if rest.iter().all(|byte| *byte == 0) {
            return Ok((len, None));
        }
        if !is_gzip(rest) {
            return Ok((len, Some(format!("{} bytes that are not gzip follow the compressed text", rest.len()))));
        }
    }
}
