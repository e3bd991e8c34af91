//! What a series is expected to do before it has done anything: [`Priors`] by [`Class`] of API, read from JSON. Knows
//! names of events only by their first word, and no series.

use serde::{Deserialize, Serialize};

use super::PooledError;
use crate::event::Category;

/// The priors that ship with Highwater; `models/README.md` says where they come from.
pub const PRIORS_JSON: &str = include_str!("../../models/priors.json");

/// What an API does, by the first word of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Read,
    Create,
    Change,
    Delete,
    Session,
    Other,
}

impl Verb {
    pub const ALL: [Verb; 6] = [Verb::Read, Verb::Create, Verb::Change, Verb::Delete, Verb::Session, Verb::Other];

    /// As `priors.json` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Create => "create",
            Verb::Change => "change",
            Verb::Delete => "delete",
            Verb::Session => "session",
            Verb::Other => "other",
        }
    }

    /// Of an `eventName`.
    pub fn of(event_name: &str) -> Verb {
        let name = event_name.strip_prefix("Batch").unwrap_or(event_name);
        // These give out credentials, whatever their first word says.
        const SESSIONS: [&str; 4] = ["GetSessionToken", "GetFederationToken", "GetSigninToken", "GetRoleCredentials"];
        if SESSIONS.contains(&name) {
            return Verb::Session;
        }
        let end = name.char_indices().skip(1).find(|(_, letter)| !letter.is_ascii_lowercase());
        match &name[..end.map_or(name.len(), |(at, _)| at)] {
            "Describe" | "Get" | "List" | "Head" | "Lookup" | "Search" | "Select" | "Query" | "Scan" | "View"
            | "Check" | "Filter" | "Validate" | "Simulate" | "Preview" | "Download" | "Poll" => Verb::Read,
            "Create" | "Run" | "Put" | "Start" | "Register" | "Add" | "Allocate" | "Import" | "Publish" | "Send"
            | "Request" | "Issue" | "Upload" | "Copy" | "Provision" | "Purchase" | "Submit" | "Restore" => Verb::Create,
            "Update" | "Modify" | "Attach" | "Set" | "Associate" | "Authorize" | "Change" | "Enable" | "Reboot"
            | "Tag" | "Replace" | "Assign" | "Reset" | "Rotate" | "Apply" | "Activate" | "Execute" | "Renew" => {
                Verb::Change
            }
            "Delete" | "Terminate" | "Stop" | "Deregister" | "Remove" | "Detach" | "Disassociate" | "Revoke"
            | "Disable" | "Untag" | "Release" | "Cancel" | "Schedule" | "Unassign" | "Deactivate" | "Purge" => {
                Verb::Delete
            }
            "Assume" | "Console" | "Switch" | "Federate" | "Authenticate" | "User" | "Credential" | "Logout" => {
                Verb::Session
            }
            _ => Verb::Other,
        }
    }
}

/// Series that share a prior: what the API does, calls or errors, management or data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

impl Class {
    pub const COUNT: usize = Verb::ALL.len() * 4;

    pub fn of(event_name: &str, is_error_rate: bool, category: Category) -> Class {
        let verb = Verb::of(event_name) as u8;
        Class(verb * 4 + u8::from(is_error_rate) * 2 + u8::from(category == Category::Data))
    }

    /// All of them, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Class> {
        (0..Class::COUNT as u8).map(Class)
    }

    /// Below [`Class::COUNT`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub fn is_error_rate(self) -> bool {
        self.0 & 2 != 0
    }

    /// Verb, rate and category, as `priors.json` spells them.
    pub fn words(self) -> [&'static str; 3] {
        let rate = if self.is_error_rate() { "errors" } else { "calls" };
        let category = if self.0 & 1 != 0 { "data" } else { "management" };
        [Verb::ALL[usize::from(self.0 / 4)].as_str(), rate, category]
    }
}

/// What is believed of a series never seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// A gamma distribution of the rate: as if so many events had been seen in so many minutes.
    pub events: f64,
    pub minutes: f64,
    /// Overdispersion of single minutes and of hours (variance = mean + phi mean^2), each with the weight, in minutes
    /// and hours that stand well above Poisson noise, that it holds against what the series shows.
    pub minute_phi: f64,
    pub minute_phi_weight: f64,
    pub hour_phi: f64,
    pub hour_phi_weight: f64,
}

impl Prior {
    /// One call in fifty minutes, held loosely: where training begins, and what says least.
    pub const WEAK: Prior = Prior {
        events: 0.5,
        minutes: 25.0,
        minute_phi: 0.5,
        minute_phi_weight: 8.0,
        hour_phi: 0.5,
        hour_phi_weight: 8.0,
    };
}

/// One class's row of `priors.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassPrior {
    pub verb: String,
    pub rate: String,
    pub category: String,
    /// Series of the class in training; the fewer, the more the prior is that of all.
    pub series: u64,
    #[serde(flatten)]
    pub prior: Prior,
}

/// The table, as stored: one row for each class, in the order of [`Class::all`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Priors {
    /// Name and version: `priors/1`.
    pub name: String,
    pub provenance: serde_json::Value,
    classes: Vec<ClassPrior>,
}

impl Priors {
    /// From a prior and a number of training series for each class.
    pub fn new(name: &str, prior_of: impl Fn(Class) -> (u64, Prior)) -> Priors {
        let row = |class: Class| {
            let [verb, rate, category] = class.words().map(str::to_owned);
            let (series, prior) = prior_of(class);
            ClassPrior { verb, rate, category, series, prior }
        };
        Priors { name: name.to_owned(), provenance: serde_json::Value::Null, classes: Class::all().map(row).collect() }
    }

    /// Reads and checks a table.
    pub fn from_json(text: &str) -> Result<Priors, PooledError> {
        let priors: Priors = serde_json::from_str(text).map_err(PooledError::PriorsJson)?;
        let found = priors.classes.iter().map(|row| [row.verb.as_str(), &row.rate, &row.category]);
        if !found.clone().eq(Class::all().map(Class::words)) {
            let missing = Class::all().map(Class::words).find(|class| !found.clone().any(|row| row == *class));
            return Err(PooledError::Classes { missing: missing.map(|class| class.join(" ")) });
        }
        for row in &priors.classes {
            let Prior { events, minutes, minute_phi, minute_phi_weight, hour_phi, hour_phi_weight } = row.prior;
            let positive = [
                ("events", events),
                ("minutes", minutes),
                ("minute_phi_weight", minute_phi_weight),
                ("hour_phi_weight", hour_phi_weight),
                ("minute_phi", minute_phi),
                ("hour_phi", hour_phi),
            ];
            if let Some((field, value)) = positive.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
                let class = [row.verb.as_str(), &row.rate, &row.category].join(" ");
                return Err(PooledError::Prior { class, field, value });
            }
        }
        Ok(priors)
    }

    pub fn of(&self, class: Class) -> Prior {
        self.classes[class.index()].prior
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_known_by_its_first_word() {
        let table = [
            (
                Verb::Read,
                "DescribeInstances GetObject ListBuckets HeadObject LookupEvents BatchGetItem GetCallerIdentity",
            ),
            (
                Verb::Create,
                "CreateUser RunInstances PutObject StartInstances RegisterTaskDefinition BatchPutMessage Run",
            ),
            (Verb::Change, "UpdateStack ModifyDBInstance AttachRolePolicy SetRepositoryPolicy RebootInstances"),
            (
                Verb::Delete,
                "DeleteBucket TerminateInstances StopLogging DeregisterImage ScheduleKeyDeletion BatchDeleteItem",
            ),
            (Verb::Session, "AssumeRole AssumeRoleWithSAML GetSessionToken GetFederationToken ConsoleLogin SwitchRole"),
            (Verb::Other, "Invoke Decrypt Getaway Settle Running GETOBJECT get Batch 3D É"),
        ];
        for (verb, names) in table {
            for name in names.split(' ') {
                assert_eq!(Verb::of(name), verb, "{name}");
            }
        }
        assert_eq!(Verb::of(""), Verb::Other);
    }

    #[test]
    fn each_combination_is_a_class_of_its_own() {
        let mut seen = Vec::new();
        for name in ["GetX", "PutX", "SetX", "DeleteX", "AssumeRole", "Invoke"] {
            for is_error in [false, true] {
                for category in [Category::Management, Category::Data] {
                    let class = Class::of(name, is_error, category);
                    assert_eq!(class.is_error_rate(), is_error);
                    assert_eq!(class.words()[2] == "data", category == Category::Data);
                    seen.push(class);
                }
            }
        }
        assert_eq!(seen, Class::all().collect::<Vec<_>>());
    }

    #[test]
    fn a_table_comes_back_from_json_and_a_wrong_one_is_refused_by_name() {
        let priors = Priors::new("priors/0", |class| (class.index() as u64, Prior::WEAK));
        let text = serde_json::to_string_pretty(&priors).expect("JSON");
        assert_eq!(Priors::from_json(&text).expect("a table"), priors);

        let problem = |text: &str| Priors::from_json(text).unwrap_err().to_string();
        let error = problem(&text.replace("\"delete\"", "\"remove\""));
        assert!(error.contains("delete calls management"), "{error}");
        let error = problem(&text.replacen("25.0", "0.0", 1));
        assert!(error.contains("read calls management") && error.contains("minutes"), "{error}");
        let error = problem("{}");
        assert!(error.contains("priors"), "{error}");
    }
}
