//! The APIs that a simulated account may call, with what their records look like: service, name, read or write,
//! category, and templates of `requestParameters` and `responseElements`. Knows nothing of who calls them or how often.
//!
//! The table itself is `catalogue.txt`, with `catalogue_more.txt` for large accounts. Names, read/write flags and parameter names follow the public AWS API
//! references; the values are ours. A template is JSON in which `%` and a letter stand for a made-up value (see
//! `record::fill`) and `%[` ... `%]` for one to three repetitions separated by commas.

/// What kind of call it is, as CloudTrail tells it with `readOnly`, `managementEvent` and `eventCategory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    DataRead,
    DataWrite,
}

/// One API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    /// `ec2` of `ec2.amazonaws.com`.
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    pub(super) access: Access,
    /// Machines call it all day; the others are called by people, by schedulers or hardly ever.
    pub(super) busy: bool,
    pub(super) request: &'static str,
    pub(super) response: &'static str,
}

/// The event name of a console sign-in.
pub(super) const SIGN_IN: &str = "ConsoleLogin";

const TABLE: &str = include_str!("catalogue.txt");
const MORE: &str = include_str!("catalogue_more.txt");

impl Api {
    pub(super) fn is_write(&self) -> bool {
        matches!(self.access, Access::Write | Access::DataWrite)
    }

    pub(super) fn is_data(&self) -> bool {
        matches!(self.access, Access::DataRead | Access::DataWrite)
    }

    /// Console sign-in: its own event type, and failures that carry no error code.
    pub(super) fn is_sign_in(&self) -> bool {
        self.name == SIGN_IN
    }

    /// Services whose events are recorded in us-east-1 wherever the caller sits.
    pub(super) fn is_global(&self) -> bool {
        matches!(self.service, "iam" | "signin" | "organizations" | "route53")
    }
}

/// The APIs that any account may call, in the order of the catalogue.
pub(super) fn apis() -> Vec<Api> {
    parse(TABLE)
}

/// Those that only accounts call for which [`apis`] are too few.
pub(super) fn more_apis() -> Vec<Api> {
    parse(MORE)
}

fn parse(table: &'static str) -> Vec<Api> {
    let mut list: Vec<Api> = Vec::new();
    let mut group = 0..0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(request) = line.strip_prefix("  request ") {
            list[group.clone()].iter_mut().for_each(|api| api.request = request);
        } else if let Some(response) = line.strip_prefix("  response ") {
            list[group.clone()].iter_mut().for_each(|api| api.response = response);
        } else {
            let mut words = line.split_ascii_whitespace();
            let (Some(service), Some(access)) = (words.next(), words.next()) else { continue };
            let access = match access {
                "read" => Access::Read,
                "write" => Access::Write,
                "data-read" => Access::DataRead,
                "data-write" => Access::DataWrite,
                other => unreachable!("the catalogue has an unknown access {other}"),
            };
            let start = list.len();
            list.extend(words.map(|word| {
                let name = word.trim_end_matches('+');
                let watched = access == Access::Read && !matches!(service, "iam" | "organizations" | "cloudtrail");
                let busy = watched || access == Access::DataRead || word.ends_with('+');
                Api { service, name, access, busy, request: "null", response: "null" }
            }));
            group = start..list.len();
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::{Access, Api, SIGN_IN, apis, more_apis};

    fn all_apis() -> Vec<Api> {
        [apis(), more_apis()].concat()
    }

    #[test]
    fn names_are_many_and_unique_per_service() {
        let mut keys: Vec<(&str, &str)> = all_apis().iter().map(|api| (api.service, api.name)).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all, "an API is listed twice");
        assert!(all >= 150, "{all}");
    }

    #[test]
    fn reads_return_nothing_and_every_access_occurs() {
        let apis = all_apis();
        for access in [Access::Read, Access::Write, Access::DataRead, Access::DataWrite] {
            assert!(apis.iter().any(|api| api.access == access), "{access:?}");
        }
        // AssumeRole is the one read whose answer CloudTrail records.
        assert!(apis.iter().all(|api| api.is_write() || api.response == "null" || api.name == "AssumeRole"));
        assert_eq!(apis.iter().filter(|api| api.name == SIGN_IN).count(), 1);
    }
}
