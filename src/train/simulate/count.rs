//! The short way from an account to its counts: the calls that `deliver` would write, added up without a record being
//! written. What a reader makes of a record (caller, error code) is said here once more, for speed; a test reads a
//! written trail back and compares. Data events are left out, as a scan leaves them out unless told otherwise.

use crate::event::{Category, Event as Counted};
use crate::window::Tally;

use super::account::{Account, error_code};
use super::cast::{Kind, Principal, Session};
use super::record::{Addendum, Event, caller, failure};
use super::traffic::DAY_MINUTES;

/// Adds every management event of the account, each once, without an event ID.
pub(super) fn count(account: &Account, tally: &mut Tally) {
    let sources: Vec<String> =
        account.series.iter().map(|series| format!("{}.amazonaws.com", series.api.service)).collect();
    let mut counter = Counter { account, sources: &sources, principal: String::new(), tally };
    // Day by day, because a tally finds the hours it was last given first.
    for day in 0..account.days {
        let begin = day * DAY_MINUTES as u32;
        for (index, series) in account.series.iter().enumerate().filter(|(_, series)| !series.api.is_data()) {
            let made = series.day(&account.calendar, day);
            for (minute, (&calls, &errors)) in (begin..).zip(made.calls.iter().zip(&made.errors)) {
                counter.minute(index, minute, calls, errors, None);
            }
        }
    }
    for (number, burst) in (0..).zip(&account.bursts) {
        for (minute, (&calls, &errors)) in (burst.start..).zip(burst.calls.iter().zip(&burst.errors)) {
            counter.minute(burst.series, minute, calls, errors, Some(number));
        }
    }
}

struct Counter<'a> {
    account: &'a Account,
    /// `eventSource` of each series.
    sources: &'a [String],
    /// The principal being written: one buffer for all calls.
    principal: String,
    tally: &'a mut Tally,
}

impl Counter<'_> {
    fn minute(&mut self, series: usize, minute: u32, calls: u32, errors: u32, burst: Option<u32>) {
        for ordinal in 0..calls {
            let failed = ordinal < errors;
            self.event(&Event { series: series as u32, minute, ordinal, burst, failed, addendum: Addendum::None });
        }
    }

    fn event(&mut self, event: &Event) {
        let account = self.account;
        let series = &account.series[event.series as usize];
        let mut draw = event.draw(account, b'r'.into());
        let (principal, session) = caller(account, event, &mut draw);
        let failure = failure(account, event);
        let sign_in = series.api.is_sign_in();
        let error_code = match failure {
            // It has no error code: CloudTrail tells it by `ConsoleLogin`.
            Some(_) if sign_in => "Failure",
            Some(failure) => error_code(failure, series.api.service),
            None => "",
        };
        self.principal.clear();
        push_principal(&mut self.principal, principal, &account.id, sign_in && failure.is_some());
        self.tally.add(&Counted {
            event_time_s: account.first_day * 86_400 + i64::from(event.minute) * 60,
            account_id: &account.id,
            region: account.regions[series.region],
            event_source: &self.sources[event.series as usize],
            event_name: series.api.name,
            read_only: !series.api.is_write(),
            category: Category::Management,
            error_code,
            principal: &self.principal,
            session: session_name(principal, &session),
            access_key_id: if sign_in || principal.kind == Kind::Service { "" } else { &session.key },
            source_ip: &session.address,
            user_agent: &session.agent,
            resource_arn: "",
            event_id: "",
            addendum_of: "",
        });
    }
}

/// Whom a reader takes the caller to be: the ARN without its session, or what stands in for one.
fn push_principal(out: &mut String, principal: &Principal, account: &str, failed_sign_in: bool) {
    let name = &principal.name;
    let parts: &[&str] = match principal.kind {
        // Failed sign-ins name nobody but the account.
        _ if failed_sign_in => &[account],
        Kind::Service => &[name],
        Kind::Root => &["arn:aws:iam::", account, ":root"],
        Kind::User => &["arn:aws:iam::", account, ":user/", name],
        Kind::Federated => &["arn:aws:sts::", account, ":federated-user/", name],
        Kind::Role => &["arn:aws:sts::", account, ":assumed-role/", name],
    };
    parts.iter().for_each(|part| out.push_str(part));
}

/// Only roles show a session's name.
fn session_name<'a>(principal: &Principal, session: &'a Session) -> &'a str {
    if principal.kind == Kind::Role { &session.name } else { "" }
}
