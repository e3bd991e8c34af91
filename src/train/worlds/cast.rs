//! Who calls: the principals of an account with the sessions, keys, addresses and agents that they show at a minute,
//! and how the usual callers of a series share its calls. Knows nothing of APIs, rates and anomalies.
//!
//! Addresses are from the ranges reserved for documentation (RFC 5737) and from 10.0.0.0/8.

use crate::train::draw::{Draw, mix, mix_all};

use super::calendar::DAY;

/// What one call shows of its caller, in numbers; [`Cast::text`] spells them. Equal numbers, equal text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Face {
    pub(super) who: u32,
    session: u32,
    key: u32,
    address: u32,
    agent: u32,
}

/// A [`Face`] as records spell it. Empty where there is none.
pub(super) struct Text {
    pub(super) session: String,
    pub(super) key: String,
    pub(super) address: String,
    pub(super) agent: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Role,
    User,
    /// An AWS service acting on its own: no ARN, key or session.
    Service,
}

/// How a role names its sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// One name per seat for good: people, applications.
    Seat,
    /// A new one with each key: builds, jobs.
    Turn,
    /// One per machine; machines live for days.
    Machine,
}

#[derive(Clone, Copy)]
enum Homes {
    /// One address per seat for good.
    Fixed,
    /// Another one every day.
    Daily,
    /// Any of so many, call by call.
    Many(u64),
}

struct Member {
    form: Form,
    /// The ARN without a session; a service's host name.
    principal: String,
    stem: String,
    naming: Naming,
    homes: Homes,
    /// Sessions open at the same time.
    seats: u64,
    /// Minutes after which keys are renewed.
    renewal: u32,
    /// Index into [`Cast::agents`]: the usual one, and another with the share of sessions that have it.
    agents: [u32; 2],
    second: f64,
    /// The minute from which a newer version of the usual agent is used, and its index.
    upgrade: (u32, u32),
    /// Nobody has seen it before; its addresses are of elsewhere.
    newcomer: bool,
    seed: u64,
}

/// All principals of an account.
pub(super) struct Cast {
    members: Vec<Member>,
    agents: Vec<String>,
    /// Principals of the account; those behind came with an anomaly.
    pub(super) residents: usize,
    account: String,
}

/// Families of user agents: text before and after the minor version.
const FAMILIES: [(&str, &str); 11] = [
    ("aws-cli/2.", ".9 md/awscrt#0.20.11 ua/2.0 os/linux#6.1 lang/python#3.11.8"),
    ("aws-cli/1.", ".21 Python/3.9.16 Linux/5.10 botocore/1.31"),
    ("Boto3/1.", ".131 md/Botocore#1.34 ua/2.0 os/linux#5.10 lang/python#3.10.12"),
    ("APN/1.0 HashiCorp/1.0 Terraform/1.", ".5 terraform-provider-aws/5.54.1"),
    ("aws-sdk-go-v2/1.", ".4 os/linux lang/go#1.22.4"),
    ("aws-sdk-go/1.", ".7 (go1.20.5; linux; amd64) amazon-ssm-agent/"),
    ("aws-sdk-java/2.", ".7 Linux/5.10 OpenJDK_64-Bit_Server_VM/17"),
    ("aws-sdk-js/3.", ".0 os/linux#6.1 lang/js md/nodejs#20.11"),
    ("Mozilla/5.0 (Macintosh) Chrome/1", ".0.0.0 Safari/537.36"),
    ("aws-sdk-rust/1.", ".1 os/linux lang/rust#1.79"),
    ("kubernetes-autoscaler/1.", ".2 aws-sdk-go/1.50"),
];

const ROLES: [&str; 20] = [
    "deploy",
    "app-server",
    "admin",
    "data-pipeline",
    "backup",
    "monitoring",
    "ops",
    "etl-runner",
    "ci-build",
    "eks-node",
    "support",
    "security-audit",
    "ml-training",
    "billing-export",
    "gateway",
    "ingest",
    "spot-fleet",
    "release",
    "cleanup",
    "platform",
];
const USERS: [&str; 10] =
    ["legacy-batch", "carol", "terraform", "dave", "s3-sync", "erin", "old-jenkins", "frank", "reporting", "grace"];
const SERVICES: [&str; 5] = [
    "autoscaling.amazonaws.com",
    "cloudformation.amazonaws.com",
    "lambda.amazonaws.com",
    "config.amazonaws.com",
    "ecs.amazonaws.com",
];
const NEWCOMERS: [&str; 6] = ["vendor-access", "svc-migrate", "helpdesk", "audit-temp", "data-share", "test-role"];

impl Cast {
    pub(super) fn new(account: &str, draw: &mut Draw) -> Cast {
        let residents = draw.whole(8, 25) as usize;
        let mut names: Vec<(Form, &str)> = ROLES.map(|name| (Form::Role, name)).to_vec();
        names.extend(USERS.map(|name| (Form::User, name)));
        names.extend(SERVICES.map(|name| (Form::Service, name)));
        draw.shuffle(&mut names);
        let mut cast = Cast { members: Vec::new(), agents: Vec::new(), residents, account: account.to_owned() };
        for (form, name) in names.into_iter().take(residents) {
            cast.join(form, name, false, draw);
        }
        cast
    }

    fn agent(&mut self, text: String) -> u32 {
        let known = self.agents.iter().position(|agent| *agent == text);
        known.unwrap_or_else(|| {
            self.agents.push(text);
            self.agents.len() - 1
        }) as u32
    }

    fn join(&mut self, form: Form, name: &str, newcomer: bool, draw: &mut Draw) -> usize {
        let versions = [draw.whole(10, 40), draw.whole(10, 40)];
        let families = [*draw.pick(&FAMILIES), *draw.pick(&FAMILIES)];
        let mut spell = |index: usize, newer: u64| {
            let (before, after) = families[index];
            self.agent(if form == Form::Service {
                name.to_owned()
            } else {
                format!("{before}{}{after}", versions[index] + newer)
            })
        };
        let agents = [spell(0, 0), spell(1, 0)];
        let newer = spell(0, 1);
        let account = &self.account;
        let principal = match form {
            Form::Role => format!("arn:aws:sts::{account}:assumed-role/{name}"),
            Form::User => format!("arn:aws:iam::{account}:user/{name}"),
            Form::Service => name.to_owned(),
        };
        let naming = *draw.pick(&[Naming::Seat, Naming::Seat, Naming::Turn, Naming::Machine]);
        let seats = match naming {
            _ if form != Form::Role || newcomer => 1,
            Naming::Machine => draw.log_between(2.0, 40.0) as u64,
            _ => draw.log_between(1.0, 8.0) as u64,
        };
        let homes = match draw.below(5) {
            0 => Homes::Daily,
            1 if !newcomer => Homes::Many(draw.log_between(2.0, 60.0) as u64),
            _ => Homes::Fixed,
        };
        let upgrade = if draw.chance(0.3) { draw.below(u64::from(28 * DAY)) as u32 } else { u32::MAX };
        self.members.push(Member {
            form,
            principal,
            stem: name.to_owned(),
            naming,
            homes,
            seats,
            renewal: if form == Form::User { 35 * DAY } else { *draw.pick(&[60, 60, 240, 720, DAY]) },
            agents,
            second: if draw.chance(0.2) { draw.between(0.05, 0.5) } else { 0.0 },
            upgrade: (upgrade, newer),
            newcomer,
            seed: draw.next(),
        });
        self.members.len() - 1
    }

    /// Adds a principal that nobody has seen.
    pub(super) fn newcomer(&mut self, draw: &mut Draw) -> usize {
        let form = if draw.chance(0.5) { Form::User } else { Form::Role };
        let name = format!("{}-{}", draw.pick(&NEWCOMERS), draw.below(10_000));
        self.join(form, &name, true, draw)
    }

    /// An agent that anyone may turn up with: somebody's of the account, or one that has not been seen.
    pub(super) fn any_agent(&mut self, draw: &mut Draw) -> u32 {
        if draw.chance(0.7) {
            return draw.below(self.agents.len() as u64) as u32;
        }
        let (before, after) = *draw.pick(&FAMILIES);
        let version = draw.whole(5, 60);
        self.agent(format!("{before}{version}{after}"))
    }

    pub(super) fn principal(&self, who: usize) -> &str {
        &self.members[who].principal
    }

    /// What the member shows at a minute; `seat` picks one of the open sessions, `any` one of many addresses.
    pub(super) fn face(&self, who: usize, minute: u32, seat: u64, any: u64) -> Face {
        let member = &self.members[who];
        let seat = seat % member.seats;
        // Seats are renewed at different minutes.
        let turn = |every: u32| u64::from((minute + seat as u32 * 7_919 % every) / every);
        let number = |purpose: u64, turn: u64| mix_all(&[member.seed, purpose, seat, turn]) as u32;
        let key = number(1, turn(member.renewal));
        let (since, newer) = member.upgrade;
        let second = f64::from(number(2, turn(member.renewal))) / f64::from(u32::MAX) < member.second;
        Face {
            who: who as u32,
            session: match member.naming {
                Naming::Seat => seat as u32,
                Naming::Turn => key,
                Naming::Machine => number(3, turn(3 * DAY)),
            },
            key,
            address: match member.homes {
                Homes::Fixed => number(4, 0),
                Homes::Daily => number(4, turn(DAY)),
                Homes::Many(count) => mix_all(&[member.seed, any % count]) as u32,
            },
            agent: match second {
                true => member.agents[1],
                false if minute >= since => newer,
                false => member.agents[0],
            },
        }
    }

    /// The same principal with another agent, and, unless `at_home`, with a new session, key and address.
    pub(super) fn disguise(&self, face: Face, agent: u32, at_home: bool, draw: &mut Draw) -> Face {
        if self.members[face.who as usize].form == Form::Service {
            return face;
        }
        if at_home {
            return Face { agent, ..face };
        }
        let (session, key, address) = (draw.next() as u32, draw.next() as u32, draw.next() as u32);
        Face { agent, session, key, address, ..face }
    }

    pub(super) fn text(&self, face: &Face) -> Text {
        let member = &self.members[face.who as usize];
        let agent = self.agents[face.agent as usize].clone();
        let session = match (member.form, member.naming) {
            (Form::User | Form::Service, _) => String::new(),
            (_, Naming::Seat) => format!("{}-{}", member.stem, face.session),
            (_, Naming::Turn) => format!("run-{}", face.session),
            (_, Naming::Machine) => format!("i-0{:016x}", mix(face.session.into())),
        };
        let prefix = if member.form == Form::User { "AKIA" } else { "ASIA" };
        let [a, b, c, _] = face.address.to_le_bytes();
        let address = match member.naming {
            _ if member.newcomer => format!("198.51.100.{b}"),
            Naming::Seat => format!("203.0.113.{b}"),
            _ => format!("10.{}.{b}.{c}", a % 16),
        };
        match member.form {
            Form::Service => Text { session, key: String::new(), address: member.principal.clone(), agent },
            _ => Text { session, key: format!("{prefix}{:016X}", mix(face.key.into())), address, agent },
        }
    }
}

/// How the usual callers of a series share its calls.
enum Sharing {
    /// Each call by itself.
    Call,
    /// Each run by one of them.
    Run,
    /// So many minutes by one, then perhaps another.
    Shift(u32),
    /// One day each, in turn.
    Day,
}

struct Hand {
    who: usize,
    weight: f64,
    /// Minutes of the trail in which it uses the series.
    from: u32,
    until: u32,
}

/// The usual callers of one series.
pub(super) struct Crew {
    hands: Vec<Hand>,
    sharing: Sharing,
    /// The seats of a caller take turns by call, not by run.
    seats_by_call: bool,
    seed: u64,
}

impl Crew {
    pub(super) fn new(cast: &Cast, minutes: u32, draw: &mut Draw) -> Crew {
        let mut order: Vec<usize> = (0..cast.residents).collect();
        draw.shuffle(&mut order);
        let count = draw.whole(1, 5).min(draw.whole(1, 6)) as usize;
        let mut hands: Vec<Hand> = order[..count]
            .iter()
            .map(|&who| Hand { who, weight: draw.exponential() + 0.02, from: 0, until: u32::MAX })
            .collect();
        // The first one stays, so that there is always someone.
        for hand in &mut hands[1..] {
            if draw.chance(0.12) {
                hand.from = draw.below(minutes.into()) as u32;
            } else if draw.chance(0.08) {
                hand.until = draw.below(minutes.into()) as u32;
            }
        }
        let sharing = match draw.below(9) {
            0..4 => Sharing::Call,
            4..7 => Sharing::Run,
            7 => Sharing::Shift(draw.log_between(60.0, 4_320.0) as u32),
            _ => Sharing::Day,
        };
        Crew { hands, sharing, seats_by_call: draw.chance(0.4), seed: draw.next() }
    }

    /// The caller of one call and the seat it uses.
    pub(super) fn caller(&self, minute: u32, run: u32, draw: &mut Draw) -> (usize, u64) {
        let active = |hand: &&Hand| (hand.from..hand.until).contains(&minute);
        let mut weights = [0.0; 5];
        for (weight, hand) in weights.iter_mut().zip(&self.hands) {
            *weight = if active(&hand) { hand.weight } else { 0.0 };
        }
        let drawn = |draw: &mut Draw| draw.weighted(&weights[..self.hands.len()]);
        let common = |part: u32| drawn(&mut Draw::new(&[self.seed, part.into()]));
        let hand = match self.sharing {
            _ if self.hands.len() == 1 => 0,
            Sharing::Call => drawn(draw),
            Sharing::Run => common(run),
            Sharing::Shift(length) => common(minute / length),
            Sharing::Day => {
                let count = self.hands.iter().filter(active).count() as u32;
                let turn = (minute / DAY % count) as usize;
                self.hands.iter().enumerate().filter(|(_, hand)| active(hand)).nth(turn).map_or(0, |(hand, _)| hand)
            }
        };
        let seat = if self.seats_by_call { draw.next() } else { mix_all(&[self.seed, run.into()]) };
        (self.hands[hand].who, seat >> 8)
    }
}
