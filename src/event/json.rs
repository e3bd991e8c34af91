//! Three questions put to `serde_json`: where a value ends, what the members of an object are, and what a string says.
//! Knows nothing of CloudTrail. Everything is borrowed; nested values are passed over without recursion.

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Error};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Where and why a text stops being JSON.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// Bytes from the start of the text asked about.
    pub offset: usize,
    /// The text ended too early, and was no error until there.
    pub ended: bool,
    pub reason: String,
}

/// Length of the JSON value at the start of `text`; whatever follows it is not looked at.
pub(super) fn value_len(text: &str) -> Result<usize, SyntaxError> {
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(values.byte_offset()),
        Some(Err(error)) => {
            Err(SyntaxError { offset: offset_of(text, &error), ended: error.is_eof(), reason: message(&error) })
        }
        None => Err(SyntaxError { offset: text.len(), ended: true, reason: "nothing here".to_owned() }),
    }
}

/// `serde_json` counts lines and the columns in them; turned back into bytes.
fn offset_of(text: &str, error: &Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', text.as_bytes()).nth(line - 2).map_or(0, |newline| newline + 1),
    };
    (line_start + error.column()).min(text.len())
}

/// The error without its line and column: those count within a record, where nobody would look for them.
pub(super) fn message(error: &Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The members of a JSON object whose (decoded) key `slot_of` knows, in their order, values as raw JSON.
pub(super) fn members<S>(object: &str, slot_of: impl Fn(&[u8]) -> Option<S>) -> Result<Vec<(S, &str)>, Error> {
    Deserializer::from_str(object).deserialize_map(Members { slot_of, found: PhantomData })
}

/// The last member of that name.
pub(super) fn member<'t>(object: &'t str, key: &str) -> Result<Option<&'t str>, Error> {
    let found = members(object, |other| (other == key.as_bytes()).then_some(()))?;
    Ok(found.last().map(|(_, raw)| *raw))
}

/// The text of a raw JSON value: `Ok(None)` for `null`, an error for what is no string or cannot be decoded.
pub(super) fn string(raw: &str) -> Result<Option<Cow<'_, str>>, String> {
    if raw == "null" {
        return Ok(None);
    }
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err("is not a string".to_owned());
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => Ok(Some(Cow::Owned(text))),
        Err(error) => Err(format!("cannot be decoded: {}", message(&error))),
    }
}

struct Members<F, S> {
    slot_of: F,
    found: PhantomData<S>,
}

impl<'t, S, F: Fn(&[u8]) -> Option<S>> Visitor<'t> for Members<F, S> {
    type Value = Vec<(S, &'t str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(slot) = map.next_key_seed(Key(&self.slot_of))? {
            match slot {
                Some(slot) => found.push((slot, map.next_value::<&RawValue>()?.get())),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Looks a key up as soon as it is decoded, so that no key is ever copied.
struct Key<'f, F>(&'f F);

impl<'t, S, F: Fn(&[u8]) -> Option<S>> DeserializeSeed<'t> for Key<'_, F> {
    type Value = Option<S>;

    fn deserialize<D: serde::Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<S, F: Fn(&[u8]) -> Option<S>> Visitor<'_> for Key<'_, F> {
    type Value = Option<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.0)(key.as_bytes()))
    }
}
