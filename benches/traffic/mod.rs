//! Made-up traffic of one account for the benches: the same in every run.

use highwater::event::{Category, Event};

const SECONDS_PER_DAY: i64 = 86_400;

/// 2026-03-02, a Monday.
pub const FIRST_DAY: i64 = 20_514;

/// Each has a write API.
pub const APIS: usize = 300;
const CALLERS: usize = 40;

pub struct Account {
    names: Vec<String>,
    callers: Vec<[String; 4]>,
}

/// An event's numbers; its strings lie in the [`Account`].
pub struct Call {
    second: i64,
    api: usize,
    caller: usize,
    failed: bool,
    id: String,
}

impl Account {
    pub fn new() -> Account {
        let caller = |n: usize| {
            [
                format!("arn:aws:sts::111122223333:assumed-role/job-{n}"),
                format!("run-{n}"),
                format!("ASIAEXAMPLE{n:09}"),
                format!("198.51.100.{n}"),
            ]
        };
        Account {
            names: (0..APIS).map(|n| format!("UpdateThing{n}")).collect(),
            callers: (0..CALLERS).map(caller).collect(),
        }
    }

    pub fn event<'a>(&'a self, call: &'a Call) -> Event<'a> {
        let [principal, session, access_key_id, source_ip] = self.callers[call.caller].each_ref().map(String::as_str);
        Event {
            event_time_s: call.second,
            account_id: "111122223333",
            region: "eu-west-1",
            event_source: "ec2.amazonaws.com",
            event_name: &self.names[call.api],
            read_only: false,
            category: Category::Management,
            error_code: if call.failed { "Client.UnauthorizedOperation" } else { "" },
            principal,
            session,
            access_key_id,
            source_ip,
            user_agent: "made-up-sdk/1.0 (linux; x86_64) lang/rust#1.95",
            resource_arn: "",
            event_id: &call.id,
            addendum_of: "",
        }
    }
}

/// The calls of one day, in the order of time. A few APIs have most of them, as in any account.
pub fn day(day: i64, calls: usize) -> Vec<Call> {
    let mut seed = day as u64;
    let mut next = move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut made: Vec<Call> = (0..calls)
        .map(|_| {
            let share = (next() >> 11) as f64 / (1_u64 << 53) as f64;
            let api = (APIS as f64 * share * share * share) as usize;
            let (time, dice, high, low) = (next(), next(), next(), next());
            Call {
                second: day * SECONDS_PER_DAY + (time % SECONDS_PER_DAY as u64) as i64,
                api,
                caller: (api + dice as usize % 4) % CALLERS,
                failed: dice >> 32 & 63 == 0,
                id: format!(
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    high >> 32,
                    high >> 16 & 0xffff,
                    high & 0xffff,
                    low >> 48,
                    low & 0xffff_ffff_ffff
                ),
            }
        })
        .collect();
    made.sort_by_key(|call| call.second);
    made
}
