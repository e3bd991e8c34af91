//! `truth.json`: what was done to a trail, for whoever judges a detector on it. Knows the plan of the attacks and
//! nothing of the files.
//!
//! One account: an object with `seed`, `days`, `account`, `warmup_days`, `first`, `events` and `truth`, a list of
//! attacks (`insightType`, `errorCode`, `arn`, `extra_calls`, `optional`, `insider`) and of harmless changes
//! (`benign`). Several accounts: a list of such objects under `accounts`, and each of them in a file of its own.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::event::Minute;
use crate::train::labelled::{self, Duty};

use super::account::{Account, Series, error_code};
use super::attack::{Attack, Burst, FINDABLE, WARM_DAYS, margin_of, steps};
use super::record::Clock;
use super::traffic::DAY_MINUTES;
use super::{Error, Options};

/// The truth about one account.
#[derive(Serialize)]
pub(super) struct Truth {
    seed: u64,
    days: u32,
    account: String,
    warmup_days: u32,
    first: String,
    /// Events, each counted once, however often it was delivered.
    events: u64,
    truth: Vec<Row>,
}

/// The truth about several accounts.
#[derive(Serialize)]
struct Organisation<'a> {
    seed: u64,
    days: u32,
    warmup_days: u32,
    first: String,
    events: u64,
    accounts: &'a [Truth],
}

/// One series over one stretch of time, `[start, end)`.
#[derive(Serialize)]
struct Row {
    account: String,
    region: &'static str,
    #[serde(rename = "eventSource")]
    event_source: String,
    #[serde(rename = "eventName")]
    event_name: &'static str,
    kind: &'static str,
    start: String,
    end: String,
    #[serde(flatten)]
    what: What,
    #[serde(skip)]
    minutes: std::ops::Range<Minute>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Attack {
        #[serde(rename = "insightType")]
        insight_type: &'static str,
        #[serde(rename = "errorCode")]
        error_code: Option<&'static str>,
        arn: Option<String>,
        extra_calls: u32,
        optional: bool,
        insider: bool,
        /// The second run of an earlier attack.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        repeat: bool,
    },
    Benign {
        benign: bool,
    },
}

const CALL_RATE: &str = "ApiCallRateInsight";
const ERROR_RATE: &str = "ApiErrorRateInsight";

impl Truth {
    pub(super) fn new(account: &Account, options: &Options, events: u64) -> Truth {
        let truth = rows(account);
        Truth {
            seed: options.seed,
            days: options.days,
            account: account.id.clone(),
            warmup_days: WARM_DAYS,
            first: time(account.first_day, 0),
            events,
            truth,
        }
    }

    /// Rows that a detector has to find.
    pub(super) fn required(&self) -> usize {
        self.truth.iter().filter(|row| matches!(row.what, What::Attack { optional: false, .. })).count()
    }
}

fn rows(account: &Account) -> Vec<Row> {
    let mut rows = Vec::new();
    for burst in &account.bursts {
        attack_rows(account, burst, &mut rows);
    }
    for (series, at) in steps(account) {
        // As long as a detector may take to get used to it.
        let until = (at + DAY_MINUTES as u32).min(account.minutes());
        rows.push(row(account, &account.series[series], "level_step", at..until, What::Benign { benign: true }));
    }
    rows
}

/// The truth about an account as training and evaluation take it.
pub(super) fn labelled(account: &Account) -> Vec<labelled::Truth> {
    let truth = |row: Row| {
        let (error_code, duty, insider, arn) = match row.what {
            What::Benign { .. } => (None, Duty::Benign, false, None),
            What::Attack { error_code, arn, optional, insider, .. } => {
                (error_code, if optional { Duty::Optional } else { Duty::Required }, insider, arn)
            }
        };
        labelled::Truth {
            account_id: row.account,
            region: row.region.to_owned(),
            event_source: row.event_source,
            event_name: row.event_name.to_owned(),
            error_code: error_code.map(str::to_owned),
            kind: row.kind.to_owned(),
            start: row.minutes.start,
            end: row.minutes.end,
            duty,
            insider,
            arn: arn.map(|arn| labelled::without_session(&arn).to_owned()),
        }
    };
    rows(account).into_iter().map(truth).collect()
}

/// The burst as it should be found, and the other lens that may see it as well.
fn attack_rows(account: &Account, burst: &Burst, rows: &mut Vec<Row>) {
    let series = &account.series[burst.series];
    let code = error_code(burst.failure, series.api.service);
    let sign_in = burst.attack == Attack::SignInStuffing;
    let flood = matches!(burst.attack, Attack::ErrorFlood | Attack::Sweep);
    // Failed sign-ins name no ARN and have no error code: they show as calls.
    let arn = if sign_in { None } else { account.cast[burst.who].arn(&account.id, &burst.session) };
    let mut add = |kind, insight_type, error_code, extra_calls, optional| {
        let attack = What::Attack {
            insight_type,
            error_code,
            arn: arn.clone(),
            extra_calls,
            optional,
            insider: burst.insider,
            repeat: burst.repeat,
        };
        rows.push(row(account, series, kind, burst.start..burst.end(), attack));
    };
    let failed: u32 = burst.errors.iter().sum();
    if flood {
        add(burst.attack.label(), ERROR_RATE, Some(code), burst.total(), burst.optional);
        // A flood of failing writes may also be seen as calls.
        let as_calls = Burst { attack: Attack::Spike, ..burst.clone() };
        if series.api.is_write() && margin_of(account, &as_calls) >= FINDABLE {
            add("flood_calls", CALL_RATE, None, burst.total(), true);
        }
    } else {
        add(burst.attack.label(), CALL_RATE, None, burst.total(), burst.optional);
        if failed > 0 && !sign_in {
            add("burst_errors", ERROR_RATE, Some(code), failed, true);
        }
    }
}

fn row(account: &Account, series: &Series, kind: &'static str, minutes: std::ops::Range<u32>, what: What) -> Row {
    Row {
        account: account.id.clone(),
        region: account.regions[series.region],
        event_source: format!("{}.amazonaws.com", series.api.service),
        event_name: series.api.name,
        kind,
        start: time(account.first_day, minutes.start),
        end: time(account.first_day, minutes.end),
        what,
        minutes: at(account, minutes.start)..at(account, minutes.end),
    }
}

fn at(account: &Account, minute: u32) -> Minute {
    Minute(account.first_day * DAY_MINUTES as i64 + i64::from(minute))
}

fn time(first_day: i64, minute: u32) -> String {
    let mut text = String::new();
    Clock { second: first_day * 86_400 + i64::from(minute) * 60 }.push(&mut text);
    text
}

/// Writes `truth.json` and, for several accounts, `truth-ACCOUNT.json` for each.
pub(super) fn write(truths: &[Truth], options: &Options, out_dir: &Path) -> Result<(), Error> {
    let [only] = truths else {
        for truth in truths {
            save(truth, out_dir, &format!("truth-{}.json", truth.account))?;
        }
        let all = Organisation {
            seed: options.seed,
            days: options.days,
            warmup_days: WARM_DAYS,
            first: time(options.first_day, 0),
            events: truths.iter().map(|truth| truth.events).sum(),
            accounts: truths,
        };
        return save(&all, out_dir, "truth.json");
    };
    save(only, out_dir, "truth.json")
}

fn save(what: &impl Serialize, out_dir: &Path, name: &str) -> Result<(), Error> {
    let path = out_dir.join(name);
    let mut text = serde_json::to_string_pretty(what).expect("plain structs with string keys always serialize");
    text.push('\n');
    fs::write(&path, text).map_err(|source| Error::Write { path, source })
}
