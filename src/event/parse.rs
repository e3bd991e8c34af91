//! The validating path: one record's text, checked by `serde_json` from its first byte to its last, becomes
//! [`Fields`]. Slower than the scanner and never surprised; the scanner hands over to it whatever it does not like.
//! Knows nothing of objects, dialects or where the next record starts.

use std::borrow::Cow;

use super::json;
use super::record::{Fields, Flag, IDENTITY_KEYS, Key, RECORD_KEYS, Reason, Slot, slot};

/// The members of a record. `record` is one JSON value, as [`json::value_len`] measured it.
pub(super) fn fields(record: &str, nesting_max: usize) -> Result<Fields<'_, Cow<'_, str>>, Reason> {
    if nesting(record) > nesting_max {
        return Err(format!("nested deeper than {nesting_max} levels").into());
    }
    let mut fields = Fields::EMPTY;
    read(record, &RECORD_KEYS, &mut fields).map_err(Reason::from)?;
    Ok(fields)
}

fn read<'t>(object: &'t str, keys: &[Key], fields: &mut Fields<'t, Cow<'t, str>>) -> Result<(), String> {
    let needed = |key: &[u8]| Some(slot(keys, key)).filter(|slot| !matches!(slot, Slot::Ignored | Slot::Unknown));
    for (slot, raw) in json::members(object, needed).map_err(|error| json::message(&error))? {
        match slot {
            Slot::Text(text) => {
                let value = json::string(raw).map_err(|reason| format!("{} {reason}", text.name()))?;
                fields.set_text(text, value);
            }
            Slot::Flag(flag) => fields.set_flag(flag, truth(raw, flag)?),
            Slot::Raw(slot) => fields.set_raw(slot, raw),
            Slot::Identity => {
                fields.clear_identity();
                if raw != "null" {
                    read(raw, &IDENTITY_KEYS, fields).map_err(|reason| format!("userIdentity: {reason}"))?;
                }
            }
            Slot::Ignored | Slot::Unknown => {}
        }
    }
    Ok(())
}

fn truth(raw: &str, flag: Flag) -> Result<Option<bool>, String> {
    match raw {
        "true" => return Ok(Some(true)),
        "false" => return Ok(Some(false)),
        _ => {}
    }
    match json::string(raw).ok().as_ref().map(Option::as_deref) {
        Some(None) => Ok(None),
        Some(Some("true")) => Ok(Some(true)),
        Some(Some("false")) => Ok(Some(false)),
        _ => Err(format!("{} is neither true nor false", flag.name())),
    }
}

/// How many objects and lists are open at once, at most, in a text known to be JSON.
fn nesting(json: &str) -> usize {
    let (mut open, mut open_max) = (0_usize, 0);
    let mut bytes = json.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (true, b'\\') => {
                bytes.next();
            }
            (false, b'{' | b'[') => {
                open += 1;
                open_max = open_max.max(open);
            }
            (false, b'}' | b']') => open = open.saturating_sub(1),
            _ => {}
        }
    }
    open_max
}
