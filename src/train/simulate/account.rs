//! One simulated account: its regions, its cast, its series (an API in a region with a pattern and usual callers) and
//! the names of its errors. Knows nothing of attacks, records or files.

use super::Options;
use super::attack::Burst;
use super::cast::{self, Kind, Principal, Trade};
use super::traffic::{self, Calendar, DAY_MINUTES, Day, Name, Pattern};
use crate::train::catalogue::{Access, Api, SIGN_IN, apis, more_apis};
use crate::train::draw::{Draw, mix, mix_all};

/// Why a call fails. The code that is written depends on the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Denied,
    Throttled,
    Missing,
    Invalid,
}

/// One API in one region.
pub(super) struct Series {
    pub(super) api: Api,
    /// Index into [`Account::regions`].
    pub(super) region: usize,
    pub(super) name: Name,
    pub(super) pattern: Pattern,
    /// The failure that this series knows in normal times, and the share of calls that it strikes.
    pub(super) standing: (Failure, f64),
    /// Indices into [`Account::cast`] with weights, the usual caller first.
    pub(super) callers: Vec<(usize, f64)>,
    pub(super) seed: u64,
}

/// One account.
pub(super) struct Account {
    pub(super) id: String,
    pub(super) regions: Vec<&'static str>,
    pub(super) cast: Vec<Principal>,
    pub(super) vocabulary: Vec<String>,
    pub(super) series: Vec<Series>,
    pub(super) bursts: Vec<Burst>,
    pub(super) calendar: Calendar,
    pub(super) seed: u64,
    /// First day of the trail, days since 1970-01-01.
    pub(super) first_day: i64,
    pub(super) days: u32,
}

/// The first is where global services are recorded.
pub(super) const REGIONS: [&str; 8] = [
    "us-east-1",
    "eu-central-1",
    "us-west-2",
    "ap-southeast-2",
    "eu-west-1",
    "ap-northeast-1",
    "sa-east-1",
    "ca-central-1",
];

/// Share of the series that live in the first region when there are several.
const HOME_SHARE: f64 = 0.6;
/// Share of the APIs that are used in a second region as well.
const TWIN_SHARE: f64 = 0.08;
/// Share of write APIs; the rest are reads.
const WRITE_SHARE: f64 = 0.64;

const ACCOUNTS: u64 = super::ACCOUNTS_MAX as u64;
/// Has no factor in common with [`ACCOUNTS`], so that its multiples visit every remainder.
const ACCOUNT_STEP: u64 = 7_919;

impl Series {
    pub(super) fn day(&self, calendar: &Calendar, day: u32) -> Day {
        traffic::day(&self.pattern, self.standing.1, calendar, self.seed, day)
    }
}

impl Account {
    /// The account's standing life, still without attacks.
    pub(super) fn new(options: &Options, index: u32, scale: f64) -> Account {
        let seed = mix_all(&[options.seed, 0x6163_6374, u64::from(index)]);
        let mut draw = Draw::new(&[seed]);
        // The last four digits come from the index by a permutation: no two accounts of a trail can be the same.
        let tail = (u64::from(index) * ACCOUNT_STEP + mix(options.seed) % ACCOUNTS) % ACCOUNTS;
        let id = format!("{:08}{tail:04}", draw.whole(10_000_000, 99_999_999));
        let mut regions = REGIONS[1..].to_vec();
        draw.shuffle(&mut regions);
        regions.insert(0, REGIONS[0]);
        regions.truncate(options.regions as usize);
        let calendar = Calendar {
            first_weekday: super::weekday(options.first_day),
            opening: draw.between(-120.0, 1_020.0).rem_euclid(DAY_MINUTES as f64),
            seed: draw.next(),
        };
        let cast = cast::standing(draw.next());
        let vocabulary = cast::vocabulary(seed);
        let mut account = Account {
            id,
            regions,
            cast,
            vocabulary,
            series: Vec::new(),
            bursts: Vec::new(),
            calendar,
            seed,
            first_day: options.first_day,
            days: options.days,
        };
        for (api, name) in repertoire(options.apis as usize, &mut draw) {
            account.add_series(api, name, scale, &mut draw);
        }
        account
    }

    pub(super) fn minutes(&self) -> u32 {
        self.days * DAY_MINUTES as u32
    }

    fn add_series(&mut self, api: Api, name: Name, scale: f64, draw: &mut Draw) {
        let mut region = 0;
        let elsewhere = draw.below(self.regions.len() as u64) as usize;
        if !api.is_global() && !draw.chance(HOME_SHARE) {
            region = elsewhere;
        }
        let twin = !api.is_global() && draw.chance(TWIN_SHARE) && self.regions.len() > 1;
        self.push_series(api, region, name, scale, draw);
        if twin {
            self.push_series(api, (region + 1) % self.regions.len(), name, scale, draw);
        }
    }

    fn push_series(&mut self, api: Api, region: usize, name: Name, scale: f64, draw: &mut Draw) {
        let pattern = traffic::pattern(name, api.busy, scale, &self.calendar, draw);
        let mut standing = standing(name, &api, draw);
        if api.is_sign_in() || name == Name::Silent {
            standing.1 = 0.0;
        }
        let callers = self.callers(name, &api, standing, draw);
        let seed = traffic::series_seed(self.seed, self.series.len());
        self.series.push(Series { api, region, name, pattern, standing, callers, seed });
    }

    /// One to four callers whose trade suits the pattern, seldom one of another trade.
    fn callers(&self, name: Name, api: &Api, standing: (Failure, f64), draw: &mut Draw) -> Vec<(usize, f64)> {
        let trades: &[Trade] = match name {
            _ if api.is_sign_in() => &[Trade::People],
            Name::Office | Name::Crumbs | Name::Silent => &[Trade::People, Trade::People, Trade::Builders],
            Name::Clockwork => &[Trade::Jobs, Trade::Jobs, Trade::Apps, Trade::Service],
            Name::Tide | Name::Growth | Name::Step => &[Trade::Apps, Trade::Fleet, Trade::Service],
            Name::Flock => &[Trade::Builders, Trade::Fleet, Trade::Service],
            Name::Heartbeat => &[Trade::Watchers, Trade::Watchers, Trade::Service],
            Name::Storm => &[Trade::Builders],
            Name::Retries => &[Trade::Apps, Trade::Jobs],
        };
        // A permission that is always missing is one program's; so is a poller.
        let wanted = if standing.1 >= 1.0 || name == Name::Heartbeat { 1 } else { draw.whole(1, 4) as usize };
        let mut callers: Vec<(usize, f64)> = Vec::new();
        for _ in 0..wanted * 2 {
            let trade = if draw.chance(0.1) { Trade::People } else { *draw.pick(trades) };
            let fits = |p: &&(usize, &Principal)| {
                p.1.trade == trade
                    // Root signs in and does little else; roles do not sign in.
                    && (p.1.kind != Kind::Root || api.is_sign_in() || api.service == "iam")
                    && (!api.is_sign_in() || matches!(p.1.kind, Kind::User | Kind::Root))
            };
            let cast: Vec<(usize, &Principal)> = self.cast.iter().enumerate().collect();
            let fitting: Vec<&(usize, &Principal)> = cast.iter().filter(fits).collect();
            if fitting.is_empty() || callers.len() == wanted {
                continue;
            }
            let (index, _) = **draw.pick(&fitting);
            if callers.iter().all(|(known, _)| *known != index) {
                callers.push((index, 1.0 / (1.0 + 2.0 * callers.len() as f64)));
            }
        }
        if callers.is_empty() {
            callers.push((0, 1.0));
        }
        callers
    }
}

/// So many the first part of the catalogue can give, by access.
const APIS_FROM_FIRST: usize = 200;

/// The APIs of an account with their patterns: always sign-ins, role sessions and, if there is room, data events.
fn repertoire(count: usize, draw: &mut Draw) -> Vec<(Api, Name)> {
    let mut all = apis();
    draw.shuffle(&mut all);
    if count > APIS_FROM_FIRST {
        let mut more = more_apis();
        draw.shuffle(&mut more);
        all.extend(more);
    }
    let mut chosen: Vec<(Api, Name)> = Vec::new();
    let fixed: &[(&str, Name)] = &[
        (SIGN_IN, Name::Office),
        ("AssumeRole", Name::Tide),
        ("GetObject", Name::Tide),
        ("PutObject", Name::Flock),
        ("Invoke", Name::Clockwork),
    ];
    // Data events take at most a tenth of a small account.
    for &(api_name, pattern) in fixed.iter().take(2 + count / 20) {
        if let Some(api) = all.iter().find(|api| api.name == api_name) {
            chosen.push((*api, pattern));
        }
    }
    let writes = (count as f64 * WRITE_SHARE).round() as usize;
    for (access, until) in [(Access::Write, writes), (Access::Read, count)] {
        for api in all.iter().filter(|api| api.access == access) {
            if chosen.len() >= until {
                break;
            }
            if chosen.iter().all(|(known, _)| known.name != api.name || known.service != api.service) {
                chosen.push((*api, mixed(api, draw)));
            }
        }
    }
    chosen
}

/// A pattern for an API: the mix as it is, leaning to machine traffic where machines call and to people elsewhere.
fn mixed(api: &Api, draw: &mut Draw) -> Name {
    let weights: Vec<f64> = traffic::MIX
        .iter()
        .map(|(name, weight)| {
            let machine = matches!(name, Name::Tide | Name::Growth | Name::Step | Name::Flock | Name::Heartbeat);
            weight
                * match (machine, api.busy) {
                    (true, true) => 1.8,
                    (true, false) => 0.15,
                    (false, _) => 1.0,
                }
        })
        .collect();
    traffic::MIX[draw.weighted(&weights)].0
}

/// What fails in normal times.
fn standing(name: Name, api: &Api, draw: &mut Draw) -> (Failure, f64) {
    match name {
        // Every call of a retry storm is throttled; the pattern itself places those.
        Name::Retries => (Failure::Throttled, 0.0),
        Name::Heartbeat | Name::Tide if api.access == Access::Read && draw.chance(0.2) => (Failure::Denied, 1.0),
        _ if draw.chance(0.45) => {
            let failure = *draw.pick(&[Failure::Denied, Failure::Throttled, Failure::Missing, Failure::Invalid]);
            (failure, libm::exp(draw.between(libm::log(0.002), libm::log(0.04))))
        }
        _ => (Failure::Denied, 0.0),
    }
}

/// The error code as the service spells it.
pub(super) fn error_code(failure: Failure, service: &str) -> &'static str {
    match (failure, service) {
        (Failure::Denied, "ec2") => "Client.UnauthorizedOperation",
        (Failure::Denied, "iam" | "s3" | "sts" | "sns" | "sqs" | "rds" | "cloudformation" | "autoscaling") => {
            "AccessDenied"
        }
        (Failure::Denied, _) => "AccessDeniedException",
        (Failure::Throttled, "ec2") => "Client.RequestLimitExceeded",
        (Failure::Throttled, "s3") => "SlowDown",
        (Failure::Throttled, "lambda") => "TooManyRequestsException",
        (Failure::Throttled, "iam" | "cloudformation" | "autoscaling" | "elasticloadbalancing" | "rds") => "Throttling",
        (Failure::Throttled, _) => "ThrottlingException",
        (Failure::Missing, "ec2") => "Client.InvalidInstanceID.NotFound",
        (Failure::Missing, "s3") => "NoSuchBucket",
        (Failure::Missing, "iam") => "NoSuchEntityException",
        (Failure::Missing, "rds") => "DBInstanceNotFound",
        (Failure::Missing, _) => "ResourceNotFoundException",
        (Failure::Invalid, "ec2") => "Client.InvalidParameterValue",
        (Failure::Invalid, "s3") => "InvalidBucketName",
        (Failure::Invalid, _) => "ValidationException",
    }
}
