//! What the name of an object tells: its kind, account, region, organisation and time of delivery. Works on S3 keys
//! and on plain paths alike; deliberately knows nothing of the object's bytes, and never refuses a name.

use super::Minute;
use super::time::days_from_civil;

/// Which of CloudTrail's kinds of object a name speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// An ordinary log file.
    CloudTrail,
    /// An hourly list of hashes, not of records.
    Digest,
    /// Insights records written by AWS.
    Insight,
    /// Five-minute summaries of data events.
    Aggregated,
    /// Calls refused or made through VPC endpoints.
    NetworkActivity,
    /// The name says nothing; the bytes decide.
    #[default]
    Other,
}

/// The parts of an object's name. Parts that the name does not tell are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ObjectName<'a> {
    /// From the file name, else from the folder.
    pub kind: Kind,
    /// Twelve digits, or empty.
    pub account: &'a str,
    /// As written; region names are not checked against a list.
    pub region: &'a str,
    /// `o-...` for organisation trails.
    pub organisation: &'a str,
    /// The minute in the file name: when CloudTrail delivered the object.
    pub delivered: Option<Minute>,
}

impl<'a> ObjectName<'a> {
    /// Reads `[prefix/]AWSLogs/[o-ID/]ACCOUNT/CloudTrail[-X]/REGION/YYYY/MM/DD/FILE`, or as much of it as there is,
    /// where `FILE` is `ACCOUNT_CloudTrail[-X]_REGION_YYYYMMDDTHHmmZ_UNIQUE.json.gz` or close to that.
    /// The file name wins over the folders, because files get copied out of their folders.
    pub fn parse(path_or_key: &'a str) -> ObjectName<'a> {
        let (folders, file) = path_or_key.rsplit_once('/').unwrap_or(("", path_or_key));
        let mut name = ObjectName::default();
        name.read_file(file);
        name.read_folders(folders);
        name
    }

    fn read_file(&mut self, file: &'a str) {
        // `.json.gz` and whatever else: no part read here holds a dot.
        let stem = file.split('.').next().unwrap_or("");
        let mut parts = stem.split('_');
        let (Some(account), Some(kind)) = (parts.next().and_then(account), parts.next().and_then(kind)) else {
            return;
        };
        self.account = account;
        self.kind = kind;
        let Some(place) = parts.next() else { return };
        // Some tools join region and time with a dash: `us-east-1-20200930T2300`.
        let glued = place.rsplit_once('-').and_then(|(region, time)| Some((region, delivery(time)?)));
        let (place, glued) = match glued {
            Some((region, time)) => (region, Some(time)),
            None => (place, None),
        };
        self.region = region(place).unwrap_or("");
        // A digest's name has the trail's name before its time, and that may hold anything: hence the last match.
        self.delivered = glued.or_else(|| match kind {
            Kind::Digest => parts.filter_map(delivery).next_back(),
            _ => parts.next().and_then(delivery),
        });
    }

    fn read_folders(&mut self, folders: &'a str) {
        let mut parts = folders.split('/').skip_while(|part| *part != "AWSLogs").skip(1).peekable();
        if let Some(organisation) = parts.next_if(|part| part.starts_with("o-")) {
            self.organisation = organisation;
        }
        let Some(owner) = parts.next().and_then(account) else { return };
        if self.account.is_empty() {
            self.account = owner;
        }
        let Some(folder_kind) = parts.next().and_then(kind) else { return };
        if self.kind == Kind::Other {
            self.kind = folder_kind;
        }
        if self.region.is_empty() {
            self.region = parts.next().and_then(region).unwrap_or("");
        }
    }
}

fn account(part: &str) -> Option<&str> {
    (part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit())).then_some(part)
}

fn kind(part: &str) -> Option<Kind> {
    match part {
        "CloudTrail" => Some(Kind::CloudTrail),
        "CloudTrail-Digest" => Some(Kind::Digest),
        "CloudTrail-Insight" => Some(Kind::Insight),
        "CloudTrail-Aggregated" => Some(Kind::Aggregated),
        "CloudTrail-NetworkActivity" => Some(Kind::NetworkActivity),
        _ => None,
    }
}

fn region(part: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (!part.is_empty() && part.bytes().all(plain)).then_some(part)
}

/// `20200930T2300`, with or without seconds (digests), with or without `Z`. `None` for a day that no calendar has.
fn delivery(part: &str) -> Option<Minute> {
    let part = part.strip_suffix('Z').unwrap_or(part);
    let (date, time) = part.split_once('T')?;
    if date.len() != 8 || !matches!(time.len(), 4 | 6) {
        return None;
    }
    let number =
        |text: &str| -> Option<i64> { if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None } };
    let days = days_from_civil(number(date.get(..4)?)?, number(date.get(4..6)?)?, number(date.get(6..)?)?)?;
    let (hour, minute) = (number(time.get(..2)?)?, number(time.get(2..4)?)?);
    let second = number(time.get(4..)?).unwrap_or(0);
    (hour < 24 && minute < 60 && second < 60).then_some(Minute(days * super::MINUTES_PER_DAY + hour * 60 + minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> Option<Minute> {
        Some(Minute(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp() / 60))
    }

    #[test]
    fn full_key() {
        let key = "logs/AWSLogs/o-abc123/111122223333/CloudTrail/eu-west-1/2026/03/04/\
                   111122223333_CloudTrail_eu-west-1_20260304T1405Z_AbCdEfGhIjKlMnOp.json.gz";
        let name = ObjectName::parse(key);
        assert_eq!(name.kind, Kind::CloudTrail);
        assert_eq!((name.account, name.region, name.organisation), ("111122223333", "eu-west-1", "o-abc123"));
        assert_eq!(name.delivered, minute("2026-03-04T14:05:00Z"));
    }

    #[test]
    fn bare_file_name() {
        let name = ObjectName::parse("111122223333_CloudTrail-Insight_us-gov-west-1_20260304T1405Z_x_y.json");
        assert_eq!((name.kind, name.region, name.organisation), (Kind::Insight, "us-gov-west-1", ""));
        assert_eq!(name.delivered, minute("2026-03-04T14:05:00Z"));
    }

    #[test]
    fn region_glued_to_time() {
        let name = ObjectName::parse("811596193553_CloudTrail_us-east-1-20200930T2300.json");
        assert_eq!((name.region, name.delivered), ("us-east-1", minute("2020-09-30T23:00:00Z")));
    }

    #[test]
    fn digest_with_underscores_in_the_trail_name() {
        let key = "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/03/04/\
                   111122223333_CloudTrail-Digest_us-east-1_my_trail_us-east-1_20260304T140507Z_backfill.json.gz";
        let name = ObjectName::parse(key);
        assert_eq!((name.kind, name.delivered), (Kind::Digest, minute("2026-03-04T14:05:00Z")));
    }

    #[test]
    fn folders_fill_in() {
        let name = ObjectName::parse("AWSLogs/111122223333/CloudTrail-NetworkActivity/us-east-1/2026/03/04/part-7.gz");
        assert_eq!(name.kind, Kind::NetworkActivity);
        assert_eq!((name.account, name.region, name.delivered), ("111122223333", "us-east-1", None));
        let name = ObjectName::parse("AWSLogs/111122223333/CloudTrail-Aggregated/us-east-1/x");
        assert_eq!(name.kind, Kind::Aggregated);
    }

    #[test]
    fn impossible_times() {
        for time in
            ["20261304T1405Z", "20260230T1405Z", "20260304T2405Z", "20260304T1460Z", "2026T1405Z", "2026030éT12"]
        {
            let name = format!("111122223333_CloudTrail_us-east-1_{time}_u.json.gz");
            assert_eq!(ObjectName::parse(&name).delivered, None, "{time}");
            assert_eq!(ObjectName::parse(&name).region, "us-east-1");
        }
    }

    #[test]
    fn names_that_say_nothing() {
        for name in
            ["", "/", "events.json", "a_b_c_d", "111122223333", "AWSLogs", "AWSLogs/o-1", "é_CloudTrail_é-é", "\\"]
        {
            assert_eq!(ObjectName::parse(name).kind, Kind::Other, "{name}");
            assert_eq!(ObjectName::parse(name).delivered, None, "{name}");
        }
    }
}
