//! Who acts in a simulated account: people, builders, applications, jobs, fleets, watchers and AWS services, with the
//! sessions, keys, addresses and agents that they use at a given minute; and the newcomers that attacks bring along.
//! Knows nothing of APIs, rates or records.
//!
//! Addresses come from the ranges reserved for documentation (RFC 5737, RFC 3849) and from 10.0.0.0/8, mail addresses
//! from example.com (RFC 2606), so that no simulated trail points at anyone.

use crate::train::draw::Draw;

/// What a principal does for a living; decides which series it calls and how its sessions look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trade {
    People,
    Builders,
    Apps,
    Jobs,
    Fleet,
    Watchers,
    /// An AWS service acting on its own: no ARN, only `invokedBy`.
    Service,
    /// Came with an attack.
    Newcomer,
}

/// The `userIdentity.type`s that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Role,
    User,
    Federated,
    Root,
    Service,
}

/// One principal of an account.
pub(super) struct Principal {
    pub(super) kind: Kind,
    pub(super) trade: Trade,
    /// Role, user or service host name.
    pub(super) name: String,
    /// The part of `principalId` that never changes (`AROA...`, `AIDA...`).
    pub(super) id: String,
    pub(super) mfa: bool,
    /// Sessions that are open at the same time: the size of a fleet, the number of people who share a role.
    parallel: u64,
    /// Minutes after which a session gets a new name and key.
    rotation: u32,
    /// Minute of the trail from which the second agent is used: software is updated.
    update: u32,
    agents: [String; 2],
    addresses: Vec<String>,
    seed: u64,
}

/// What one principal shows of itself during one session.
#[derive(Clone)]
pub(super) struct Session {
    /// Empty where the principal has none (users, root, services).
    pub(super) name: String,
    pub(super) key: String,
    pub(super) address: String,
    pub(super) agent: String,
    /// Minute of the trail in which it began; may lie before the trail.
    pub(super) began: i64,
}

const UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HEX: &[u8; 16] = b"0123456789abcdef";
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// `count` characters of base 32, as in access keys and principal ids.
pub(super) fn push_upper(out: &mut String, draw: &mut Draw, count: usize) {
    push_from(out, draw, UPPER, 5, count);
}

/// `count` hexadecimal digits.
pub(super) fn push_hex(out: &mut String, draw: &mut Draw, count: usize) {
    push_from(out, draw, HEX, 4, count);
}

/// Letters and digits, as in the unique part of a log file's name.
pub(super) fn push_letters(out: &mut String, draw: &mut Draw, count: usize) {
    (0..count).for_each(|_| out.push(char::from(*draw.pick(LETTERS))));
}

/// Takes `bits` bits a character out of as few draws as possible.
fn push_from(out: &mut String, draw: &mut Draw, alphabet: &[u8], bits: u32, count: usize) {
    let per_draw = (64 / bits) as usize;
    let mut word = 0;
    for index in 0..count {
        if index % per_draw == 0 {
            word = draw.next();
        }
        out.push(char::from(alphabet[(word & ((1 << bits) - 1)) as usize]));
        word >>= bits;
    }
}

impl Principal {
    /// The session in use at a minute of the trail; `choice` picks among those open at the same time.
    pub(super) fn session(&self, minute: u32, choice: u64) -> Session {
        let seat = choice % self.parallel;
        // Seats change at different minutes, or a whole fleet would be replaced at once.
        let phase = (seat as u32).wrapping_mul(7919) % self.rotation;
        let turn = (minute + phase) / self.rotation;
        let mut draw = Draw::new(&[self.seed, seat, u64::from(turn)]);
        let agent = &self.agents[usize::from(minute >= self.update)];
        let lasting = matches!(self.kind, Kind::User);
        let mut keys =
            if lasting { Draw::new(&[self.seed]) } else { Draw::new(&[self.seed, seat, u64::from(turn), 1]) };
        let mut key = String::from(if lasting { "AKIA" } else { "ASIA" });
        push_upper(&mut key, &mut keys, 16);
        let name = self.session_name(seat, &mut draw);
        let address = self.addresses[draw.below(self.addresses.len() as u64) as usize].clone();
        let began = i64::from(turn) * i64::from(self.rotation) - i64::from(phase);
        Session { name, key, address, agent: agent.clone(), began }
    }

    fn session_name(&self, seat: u64, draw: &mut Draw) -> String {
        let mut name = String::new();
        match (self.kind, self.trade) {
            (Kind::User | Kind::Federated | Kind::Root | Kind::Service, _) => {}
            (Kind::Role, Trade::People) => name.push_str(PEOPLE[seat as usize % PEOPLE.len()]),
            (Kind::Role, Trade::Builders) => name = format!("build-{}", 40_000 + draw.below(50_000)),
            (Kind::Role, Trade::Fleet) => {
                name.push_str("i-0");
                push_hex(&mut name, draw, 16);
            }
            (Kind::Role, Trade::Apps) => name = format!("{}-{}", self.name, seat),
            (Kind::Role, Trade::Jobs | Trade::Watchers | Trade::Service) => {
                name = format!("run-{}", 1_772_000_000 + draw.below(9_999_999));
            }
            (Kind::Role, Trade::Newcomer) => {
                name.push_str("session");
                name.push_str(&draw.below(10_000).to_string());
            }
        }
        name
    }

    /// The `userIdentity.arn` of a session; services have none.
    pub(super) fn arn(&self, account: &str, session: &Session) -> Option<String> {
        match self.kind {
            Kind::Role => Some(format!("arn:aws:sts::{account}:assumed-role/{}/{}", self.name, session.name)),
            Kind::User => Some(format!("arn:aws:iam::{account}:user/{}", self.name)),
            Kind::Federated => Some(format!("arn:aws:sts::{account}:federated-user/{}", self.name)),
            Kind::Root => Some(format!("arn:aws:iam::{account}:root")),
            Kind::Service => None,
        }
    }
}

const PEOPLE: &[&str] = &[
    "mira.okafor@example.com",
    "jonas.lind@example.com",
    "sofia.duarte@example.com",
    "kenji.mori@example.com",
    "amel.haddad@example.com",
    "tom.byrne@example.com",
    "ines.novak@example.com",
];

use Kind::{Federated, Role, Root, Service, User};
use Trade::{Apps, Builders, Fleet, Jobs, People, Watchers};

/// Kind, trade, name, sessions at a time, minutes between rotations.
#[rustfmt::skip]
const ROSTER: &[(Kind, Trade, &str, u64, u32)] = &[
    (Role, People, "AWSReservedSSO_Admin_5f1c0d9e7a3b2468", 5, 480),
    (Role, People, "AWSReservedSSO_Dev_93be07d1465fa2c8", 7, 600),
    (Role, People, "on-call-breakglass", 2, 60),
    (User, People, "mira.console", 1, 1_440),
    (User, People, "contractor-west", 1, 1_440),
    (Federated, People, "partner-portal", 1, 720),
    (Root, People, "root", 1, 240),
    (Role, Builders, "ci-runner", 12, 30),
    (Role, Builders, "release-train", 2, 60),
    (Role, Builders, "infra-apply", 3, 45),
    (User, Builders, "legacy-deployer", 1, 1_440),
    (Role, Apps, "orders-service", 4, 60),
    (Role, Apps, "media-pipeline", 6, 60),
    (Role, Apps, "ledger-worker", 3, 60),
    (Role, Apps, "search-indexer", 2, 60),
    (Role, Jobs, "nightly-batch", 1, 360),
    (Role, Jobs, "backup-keeper", 1, 720),
    (Role, Jobs, "cost-report", 1, 1_440),
    (User, Jobs, "ftp-bridge", 1, 1_440),
    (Role, Fleet, "cluster-node", 18, 1_440),
    (Role, Fleet, "spot-worker", 30, 240),
    (Role, Fleet, "cluster-autoscaler", 2, 720),
    (Role, Watchers, "metrics-poller", 2, 60),
    (Role, Watchers, "posture-scanner", 1, 120),
    (Service, Trade::Service, "autoscaling.amazonaws.com", 1, 1_440),
    (Service, Trade::Service, "config.amazonaws.com", 1, 1_440),
    (Service, Trade::Service, "lambda.amazonaws.com", 1, 1_440),
];

/// The agent before and after an update: the same text with a newer version.
fn agents(trade: Trade, draw: &mut Draw) -> [String; 2] {
    let minor = draw.whole(10, 60);
    let patch = draw.below(20);
    [minor, minor + 1 + patch % 4].map(|v| match trade {
        Trade::People if patch < 12 => {
            format!(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1{v}.0.0.0 Safari/537.36"
            )
        }
        Trade::People => {
            format!("aws-cli/2.{v}.{patch} md/awscrt#0.27.{patch} ua/2.1 os/macos#15.5 lang/python#3.13.4")
        }
        Trade::Builders => {
            format!(
                "APN/1.0 HashiCorp/1.0 Terraform/1.{patch}.2 terraform-provider-aws/6.{v}.0 aws-sdk-go-v2/1.{v}.{patch}"
            )
        }
        Trade::Apps => format!("aws-sdk-java/2.{v}.{patch} md/io#sync ua/2.1 os/Linux#6.1 lang/java#21.0.{patch}"),
        Trade::Jobs | Trade::Watchers => {
            format!("Boto3/1.{v}.{patch} md/Botocore#1.{v}.{patch} ua/2.1 os/linux#6.1 lang/python#3.12.9")
        }
        Trade::Fleet => format!("aws-sdk-go-v2/1.{v}.{patch} ua/2.1 os/linux lang/go#1.23.{patch} md/GOARCH#arm64"),
        Trade::Service => String::new(),
        Trade::Newcomer => match patch % 4 {
            0 => format!("aws-cli/2.{minor}.1 ua/2.0 os/linux#6.5.0-kali3-amd64 lang/python#3.11.4"),
            1 => format!("Boto3/1.{minor}.0 md/Botocore#1.{minor}.0 ua/2.0 os/windows#10 lang/python#3.9.{patch}"),
            2 => format!("python-requests/2.{minor}.{patch}"),
            _ => format!("aws-sdk-go/1.{minor}.{patch} (go1.21.{patch}; linux; amd64)"),
        },
    })
}

fn addresses(trade: Trade, name: &str, draw: &mut Draw) -> Vec<String> {
    let count = match trade {
        Trade::People => 6,
        Trade::Fleet => 24,
        Trade::Builders | Trade::Apps => 4,
        _ => 1,
    };
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(match trade {
            Trade::Service => name.to_owned(),
            Trade::People if draw.chance(0.2) => {
                format!("2001:db8:{:x}:{:x}::{:x}", draw.below(65_536), draw.below(65_536), draw.whole(1, 255))
            }
            Trade::People | Trade::Builders => format!("203.0.113.{}", draw.whole(1, 254)),
            Trade::Newcomer => format!("198.51.100.{}", draw.whole(1, 254)),
            _ => format!("10.{}.{}.{}", draw.below(4), draw.below(256), draw.whole(4, 254)),
        });
    }
    list
}

/// Identity of a principal: what seeds it and how it is used.
pub(super) struct Part<'a> {
    pub(super) kind: Kind,
    pub(super) trade: Trade,
    pub(super) name: &'a str,
    pub(super) parallel: u64,
    pub(super) rotation: u32,
}

/// Software is updated at some time in the first five weeks; not by the length of the trail, so that a longer trail
/// begins with the shorter one.
const UPDATE_MINUTES: u64 = 35 * 1_440;

/// Makes one principal.
pub(super) fn principal(part: &Part<'_>, seed: u64) -> Principal {
    let mut draw = Draw::new(&[seed, 0x6361_7374]);
    let mut id = String::from(if part.kind == Kind::User { "AIDA" } else { "AROA" });
    push_upper(&mut id, &mut draw, 17);
    let update = draw.below(UPDATE_MINUTES) as u32;
    Principal {
        kind: part.kind,
        trade: part.trade,
        name: part.name.to_owned(),
        id,
        mfa: part.trade == Trade::People && part.kind != Kind::Federated,
        parallel: part.parallel,
        rotation: part.rotation,
        update,
        agents: if part.kind == Kind::Service {
            [part.name.to_owned(), part.name.to_owned()]
        } else {
            agents(part.trade, &mut draw)
        },
        addresses: addresses(part.trade, part.name, &mut draw),
        seed,
    }
}

/// The standing cast of an account.
pub(super) fn standing(seed: u64) -> Vec<Principal> {
    ROSTER
        .iter()
        .zip(0_u64..)
        .map(|(&(kind, trade, name, parallel, rotation), index)| {
            let part = Part { kind, trade, name, parallel, rotation };
            principal(&part, crate::train::draw::mix_all(&[seed, index]))
        })
        .collect()
}

const NEWCOMER_USERS: &[&str] = &["support-temp", "svc-migrate", "audit2", "backup_admin", "test-user", "helpdesk01"];
const NEWCOMER_ROLES: &[&str] =
    &["VendorAccess", "lambda-basic-exec", "OrganizationAccess", "old-jenkins", "DataShare"];

/// A principal that no one has seen in the account before.
pub(super) fn newcomer(draw: &mut Draw) -> Principal {
    let user = draw.chance(0.5);
    let base = *draw.pick(if user { NEWCOMER_USERS } else { NEWCOMER_ROLES });
    // A number keeps two newcomers of one account apart.
    let name = format!("{base}-{}", draw.below(10_000));
    let kind = if user { Kind::User } else { Kind::Role };
    let part = Part { kind, trade: Trade::Newcomer, name: &name, parallel: 1, rotation: 1_440 };
    principal(&part, draw.next())
}

const WORDS_FIRST: &[&str] = &[
    "orders", "ledger", "media", "search", "invoice", "gateway", "catalog", "fraud", "basket", "notify", "report",
    "geo",
];
const WORDS_SECOND: &[&str] = &["api", "worker", "indexer", "stream", "cache", "sync", "export", "jobs"];

/// The names that an account gives to its resources.
pub(super) fn vocabulary(seed: u64) -> Vec<String> {
    let mut draw = Draw::new(&[seed, 0x776f_7264]);
    (0..24).map(|_| format!("{}-{}", draw.pick(WORDS_FIRST), draw.pick(WORDS_SECOND))).collect()
}
