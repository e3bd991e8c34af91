//! [`Secret`]: a key or password, named by where it lies (`env:NAME`, `file:PATH`), so that no configuration, command
//! line or log ever holds one. Knows nothing of who uses it.

use std::borrow::Cow;
use std::fmt;
use std::fs;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// What is said once, and shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads it from where `place` says. An error names the place and never what lies there.
    pub fn read(place: &str) -> Result<Secret, String> {
        let text = match place.split_once(':') {
            Some(("env", name)) => std::env::var(name).map_err(|_| format!("{name} is not set in the environment"))?,
            Some(("file", path)) => fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
            _ => return Err("a secret is named by where it lies: env:NAME or file:PATH".to_owned()),
        };
        match text.trim() {
            "" => Err(format!("{place} is empty")),
            text => Ok(Secret(text.to_owned())),
        }
    }

    /// For whoever has to say it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        Secret::read(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(env|file):.+",
            "description": "Where the secret lies: env:NAME or file:PATH.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, "hush\n").expect("written");
        let secret = Secret::read(&format!("file:{}", path.display())).expect("a secret");
        assert_eq!(secret.reveal(), "hush");
        assert!(!format!("{secret:?}").contains("hush"));
        let error = Secret::read("hush").expect_err("not a place");
        assert!(!error.contains("hush"), "{error}");
        assert!(Secret::read("env:HIGHWATER_NOT_SET_ANYWHERE").is_err());
        fs::write(&path, "\n").expect("written");
        assert!(Secret::read(&format!("file:{}", path.display())).is_err(), "empty");
    }
}
