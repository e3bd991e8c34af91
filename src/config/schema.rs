//! The configuration file described as a JSON schema, for editors and for whoever writes it by program. Made of the same
//! types and names that read the file. Knows nothing beyond them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use super::sidecar::Watch;
use super::{KEYS, Written};
use crate::sink::Sink;
use crate::source::Source;

/// The tables, as schemars describes them.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Tables {
    /// What `highwater watch` does.
    watch: Option<Watch>,
    /// Where deliveries come from; any number.
    #[schemars(default)]
    source: Vec<Source>,
    /// Where insights go; any number.
    #[schemars(default)]
    sink: Vec<Sink>,
}

/// JSON Schema 2020-12 of `highwater.toml`.
pub fn schema() -> Value {
    let mut root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Tables>();
    root.insert("title".to_owned(), json!("highwater.toml"));
    root.insert("description".to_owned(), json!("Settings of Highwater, and the tables of `highwater watch`."));
    root.insert("additionalProperties".to_owned(), json!(false));
    root.remove("required");
    if let Some(Value::Object(properties)) = root.get_mut("properties") {
        let tables = std::mem::take(properties);
        *properties = KEYS.iter().map(|key| (key.name.to_owned(), described(key).to_value())).collect::<Map<_, _>>();
        properties.extend(tables);
    }
    root.to_value()
}

fn described(key: &super::Key) -> Schema {
    let mut schema = match key.written {
        Written::Number => json_schema!({ "type": "number" }),
        Written::Whole => json_schema!({ "type": "integer", "minimum": 1 }),
        Written::Flag => json_schema!({ "type": "boolean" }),
        Written::Choice(choices) => json_schema!({ "type": "string", "enum": choices }),
        Written::Text(pattern) => json_schema!({ "type": "string", "pattern": pattern }),
    };
    schema.insert("description".to_owned(), json!(key.meaning));
    schema
}
