//! The sidecar's promise: kills at any moment, redelivery, reordering and torn writes leave the same bytes as one scan
//! of the same objects. Thousands of kills, by a seed from the clock; `HIGHWATER_SEED` runs one again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::Path;

use highwater::detector::Detector;
use highwater::event::Minute;
use highwater::insight::mute::Mutes;
use highwater::insight::{Insight, State};
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::run;
use highwater::source::{self, Object};
use highwater::store::rates::{self, Name};
use highwater::train::simulate::{self, simulate};
use highwater::watch::{Clock, Committed, Delivery, Early, Options, Watch, WatchError};

use crate::support::{Random, detector, line, minute, scan, scan_options};

fn trail(seed: u64, root: &Path) -> Vec<Object> {
    let options = simulate::Options {
        seed,
        days: 12,
        regions: 1,
        apis: 10,
        scale: 0.05,
        anomalies_per_week: 14.0,
        late_share: 0.03,
        duplicate_share: 0.1,
        delivery_minutes: 60,
        ..simulate::Options::default()
    };
    simulate(&options, root).expect("a trail");
    source::find(&[root.join("AWSLogs").to_string_lossy().into_owned()]).expect("found").objects
}

fn open(state: &Path) -> Result<Watch, WatchError> {
    Watch::open(
        state,
        Options { run: scan_options(), clock: Clock::Delivery, learns_lateness: false, memory: None },
        detector(),
    )
}

fn delivery(object: &Object) -> Delivery {
    let mut bytes = Vec::new();
    object.read(&mut bytes).expect("an object");
    Delivery { name: object.name.clone(), bytes, arrived: minute(12 * 1_440) }
}

/// Shuffled within some hours, and some twice.
fn queue(objects: &[Object], random: &mut Random) -> VecDeque<Delivery> {
    let mut queue: Vec<Delivery> = Vec::new();
    let hours = |object: &Object| object.delivered.map(|delivered| delivered.0 / 240);
    for neighbours in objects.chunk_by(|a, b| hours(a) == hours(b)) {
        let mut part: Vec<&Object> = neighbours.iter().collect();
        part.extend(neighbours.iter().filter(|_| random.below(5) == 0));
        random.shuffle(&mut part);
        queue.extend(part.into_iter().map(delivery));
    }
    queue.into()
}

const LINES: [&str; 3] = ["insights.jsonl", "near.jsonl", "rejects.jsonl"];

fn lengths(state: &Path) -> [u64; 3] {
    LINES.map(|name| fs::metadata(state.join(name)).map_or(0, |file| file.len()))
}

/// Cuts what a kill may have left half written: files beyond what the last snapshot relies on.
fn tear(state: &Path, random: &mut Random, durable: [u64; 3]) {
    for ((name, length), durable) in LINES.into_iter().zip(lengths(state)).zip(durable) {
        let path = state.join(name);
        if length > durable && random.below(2) == 0 {
            let kept = durable + random.below(length - durable + 1);
            fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(kept)).expect("cut");
        }
    }
    // Half an entry at the end of the journal was promised to nobody.
    let journal = fs::read_dir(state).expect("listed").flatten().map(|entry| entry.path());
    for path in
        journal.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-")))
    {
        if random.below(2) == 0 {
            let mut bytes = fs::read(&path).expect("read");
            if let Some(length) = bytes.first_chunk::<4>().map(|length| u64::from(u32::from_le_bytes(*length))) {
                // As long as an entry that there is, and shorter by something.
                let mut torn = bytes[..random.below(12 + length) as usize].to_vec();
                if random.below(3) == 0 {
                    // After a power cut, a page that never came to the disk.
                    let lost = random.below(torn.len() as u64 + 1) as usize;
                    torn[..lost].fill(0);
                }
                bytes.extend(torn);
            }
            fs::write(&path, bytes).expect("written");
        }
    }
}

fn run(seed: u64) -> u64 {
    let mut random = Random(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(seed, folder.path());
    let (expected, summary) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
    let state = folder.path().join("state");
    let mut unsent = queue(&objects, &mut random);
    let mut waiting: VecDeque<Delivery> = VecDeque::new();
    let mut in_flight: Vec<Delivery> = Vec::new();
    let (mut kills, mut durable) = (0, [0; 3]);
    let mut watch = open(&state).expect("opened");
    while !unsent.is_empty() || !waiting.is_empty() || !in_flight.is_empty() {
        match random.below(12) {
            0 | 1 => {
                let count = random.below(8) as usize;
                waiting.extend(unsent.drain(..count.min(unsent.len())));
            }
            2..=5 => {
                // The queue gives out any.
                let place = random.below(waiting.len().max(1) as u64) as usize;
                if let Some(delivery) = waiting.remove(place) {
                    watch.take(&delivery);
                    in_flight.push(delivery);
                }
            }
            6..=8 => {
                // Nothing waits: what was sent is here.
                let complete = watch.newest().filter(|_| waiting.is_empty());
                watch.commit(complete).expect("committed");
                if watch.snapshot_if_due().expect("a snapshot where one is due") {
                    durable = lengths(&state);
                }
                // Some acknowledgements are lost on their way: those come again.
                let lost = in_flight.drain(..).filter(|_| random.below(20) == 0);
                lost.for_each(|delivery| waiting.push_front(delivery));
            }
            9 => {
                watch.take_snapshot().expect("a snapshot");
                durable = lengths(&state);
            }
            _ => {
                drop(watch);
                kills += 1;
                tear(&state, &mut random, durable);
                in_flight.drain(..).for_each(|delivery| waiting.push_front(delivery));
                watch = open(&state).expect("opened again");
            }
        }
    }
    watch.finish().expect("finished");
    let told = fs::read_to_string(state.join("insights.jsonl")).expect("insights");
    assert_eq!(told.lines().collect::<Vec<_>>(), expected, "HIGHWATER_SEED={seed}");
    // Each of the others once, and whole.
    for name in &LINES[1..] {
        let text = fs::read_to_string(state.join(name)).expect("lines");
        let mut lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{name} {seed}");
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count, "{name} HIGHWATER_SEED={seed}");
    }
    let counters = watch.counters();
    assert_eq!(counters.scored, summary.counters.scored, "HIGHWATER_SEED={seed}");
    assert_eq!(
        counters.read,
        counters.scored + counters.duplicate + counters.filtered + counters.late + counters.malformed + counters.open,
    );
    // Nothing is left to do for the next one.
    drop(watch);
    let mut again = open(&state).expect("opened at the end");
    assert_eq!(again.commit(None).expect("nothing").insights, []);
    kills
}

#[test]
fn any_number_of_kills_leaves_what_a_scan_says() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let seeds: Vec<u64> = match std::env::var("HIGHWATER_SEED") {
        Ok(seed) => vec![seed.parse().expect("HIGHWATER_SEED is a number")],
        Err(_) => (0..8).map(|n| now as u64 % 1_000_000 + n).collect(),
    };
    let kills: u64 = std::thread::scope(|scope| {
        let runs: Vec<_> = seeds.iter().map(|seed| scope.spawn(|| run(*seed))).collect();
        runs.into_iter().map(|run| run.join().expect("a run")).sum()
    });
    println!("{kills} kills");
    assert!(std::env::var("HIGHWATER_SEED").is_ok() || kills >= 1_000, "{kills}");
}

#[test]
fn the_wall_clock_closes_what_the_sources_are_known_to_have_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(3, folder.path());
    let options = highwater::run::Options { lateness_minutes: 240, ..scan_options() };
    let options = Options { run: options, clock: Clock::Wall, learns_lateness: false, memory: None };
    let mut watch = Watch::open(&folder.path().join("state"), options, detector()).expect("opened");
    let (mut told, mut early, mut late_words) = (Vec::new(), HashMap::new(), 0);
    let mut note = |committed: Committed, told: &mut Vec<Insight>| {
        for line in committed.early {
            match line {
                Early::Told(record) => {
                    assert!(record.highwater.is_some_and(|extra| extra.provisional));
                    early.insert(record.shared_event_id, "open");
                }
                Early::Settled { shared_event_id, outcome, .. } => {
                    assert_eq!(early.insert(shared_event_id, outcome), Some("open"));
                }
            }
        }
        let starts = committed.insights.iter().filter(|insight| insight.state == State::Start);
        let unannounced = starts.filter(|insight| !early.contains_key(&insight.to_record(true).shared_event_id));
        late_words += unannounced.count();
        told.extend(committed.insights);
    };
    for object in &objects {
        watch.take(&delivery(object));
        note(watch.commit(object.delivered).expect("committed"), &mut told);
        let delivered = object.delivered.expect("a time").0;
        assert_eq!(watch.frontier(), Minute(delivered - 240));
    }
    // A source that stands still holds the frontier still.
    let before = watch.frontier();
    watch.commit(None).expect("committed");
    assert_eq!(watch.frontier(), before);
    note(watch.finish().expect("finished"), &mut told);
    assert!(early.len() >= 4 && early.values().all(|outcome| *outcome == "confirmed"), "{early:?}");
    assert_eq!(late_words, 0, "every incident was told before it was final");
    let (expected, _) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
    assert_eq!(watch.counters().late, 0);
    assert_eq!(told.iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn two_hours_without_the_queue_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(3, folder.path());
    let run = highwater::run::Options { lateness_minutes: 240, ..scan_options() };
    let options = Options { run, clock: Clock::Wall, learns_lateness: false, memory: None };
    let listen = |outage: Option<(i64, i64)>, state: &str| {
        let mut random = Random(5);
        let mut watch = Watch::open(&folder.path().join(state), options.clone(), detector()).expect("opened");
        let (mut told, mut kept, mut in_hand) = (Vec::new(), Vec::new(), None);
        for object in &objects {
            let delivered = object.delivered.expect("a time");
            match outage {
                Some((from, to)) if (from..to).contains(&delivered.0) => {
                    // The clock goes on, but the queue was last seen empty when it went away.
                    kept.push(delivery(object));
                    told.extend(watch.commit(Some(Minute(from - 1))).expect("committed").insights);
                    continue;
                }
                Some(_) if !kept.is_empty() => {
                    // What was in hand was never deleted and comes again; and the queue gives out any first.
                    kept.extend(in_hand.take());
                    while !kept.is_empty() {
                        watch.take(&kept.swap_remove(random.below(kept.len() as u64) as usize));
                        told.extend(watch.commit(None).expect("committed").insights);
                    }
                }
                _ => in_hand = Some(delivery(object)),
            }
            watch.take(&delivery(object));
            told.extend(watch.commit(Some(delivered)).expect("committed").insights);
        }
        told.extend(watch.finish().expect("finished").insights);
        (told.iter().map(line).collect::<Vec<_>>(), watch.counters())
    };
    let (always, counters) = listen(None, "always");
    let newest = objects.iter().filter_map(|object| object.delivered).max().expect("objects").0;
    let middle = newest - 3 * 1440;
    let away =
        objects.iter().filter(|object| object.delivered.is_some_and(|at| (middle..middle + 120).contains(&at.0)));
    assert!(away.count() > 0, "an outage that nobody notices");
    let (interrupted, others) = listen(Some((middle, middle + 120)), "interrupted");
    assert!(!always.is_empty());
    assert_eq!(always, interrupted);
    assert_eq!((counters.scored, counters.late), (others.scored, 0));
    assert_eq!(others.late, 0);
}

#[test]
fn a_mute_keeps_its_word_across_kills_and_is_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(5, folder.path());
    let (plain, _) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
    let mute = |text: &str| Mutes::parse(text).expect("mutes");
    let all = mute(r#"{"mutes":[{"id":"m-1","made":"","reason":"a deployment"}]}"#);
    let told = |kills: bool| {
        let state = folder.path().join(format!("state-{kills}"));
        let mut watch = open(&state).expect("opened");
        for (place, object) in objects.iter().enumerate() {
            watch.take(&delivery(object));
            // In force for every other tenth of what comes.
            match place * 10 / objects.len() % 2 {
                1 => watch.mute(all.clone()),
                _ => watch.mute(Mutes::default()),
            }
            if place % 7 == 0 {
                let complete = watch.newest();
                watch.commit(complete).expect("committed");
                if kills {
                    drop(watch);
                    watch = open(&state).expect("opened again");
                }
            }
        }
        watch.finish().expect("finished");
        fs::read_to_string(state.join("insights.jsonl")).expect("insights")
    };
    let lines = told(false);
    assert_eq!(lines, told(true));
    let muted: Vec<bool> = lines.lines().map(|line| line.contains("\"mutedBy\":\"m-1\"")).collect();
    assert!(muted.contains(&true) && muted.contains(&false), "{muted:?}");
    // Nothing else is another thing for it.
    let unmuted = lines.replace(",\"mutedBy\":\"m-1\"", "");
    assert_eq!(unmuted.lines().collect::<Vec<_>>(), plain);
    // An end goes the way of its start.
    let mut starts = HashMap::new();
    for line in lines.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        let (shared, muted) = (record["sharedEventID"].to_string(), record["highwater"]["mutedBy"].clone());
        match record["insightDetails"]["state"].as_str() {
            Some("Start") => assert!(starts.insert(shared, muted).is_none()),
            _ => assert_eq!(starts.remove(&shared), Some(muted)),
        }
    }
    assert_eq!(starts.len(), 0);
}

/// Records of many series in each of many hours: JSON lines, one object for each hour.
fn many_series(hours: i64, series: u64) -> Vec<Delivery> {
    let mut random = Random(7);
    (0..hours)
        .map(|hour| {
            let lines: String = (0..series)
                .map(|_| {
                    let (name, second) = (random.below(series * 4), random.below(3_600) as i64);
                    let time = Minute(minute(0).0 + hour * 60 + second / 60);
                    let id = random.next();
                    format!(
                        r#"{{"eventVersion":"1.11","eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"Call{name}","awsRegion":"us-east-1","sourceIPAddress":"10.0.0.1","userAgent":"agent","readOnly":false,"eventID":"{id:036x}","eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"000000000001","eventCategory":"Management","userIdentity":{{"type":"AssumedRole","arn":"arn:aws:sts::000000000001:assumed-role/r/s","accountId":"000000000001"}}}}"#
                    ) + "\n"
                })
                .collect();
            let arrived = Minute(minute(0).0 + hour * 60 + 60);
            Delivery { name: format!("push {hour}"), bytes: lines.into_bytes(), arrived }
        })
        .collect()
}

#[test]
fn what_is_forgotten_for_want_of_memory_is_the_same_after_any_kill() {
    const MIB: u64 = 1 << 20;
    let deliveries = many_series(40, 2_000);
    let run = |memory: Option<u64>, kills: u64| {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            run: run::Options { lateness_minutes: 90, ..scan_options() },
            clock: Clock::Wall,
            learns_lateness: false,
            memory,
        };
        let open = || Watch::open(folder.path(), options.clone(), detector()).expect("opened");
        let mut random = Random(kills);
        let mut watch = open();
        let mut told = Vec::new();
        for delivery in &deliveries {
            watch.take(delivery);
            let committed = watch.commit(Some(delivery.arrived)).expect("committed");
            assert!(!committed.closed_early);
            told.push((watch.evicted(), watch.counters()));
            match random.below(3) {
                _ if kills == 0 => {}
                0 => {
                    drop(watch);
                    watch = open();
                }
                1 => watch.take_snapshot().expect("a snapshot"),
                _ => {}
            }
        }
        watch.finish().expect("finished");
        let lines = |name: &str| fs::read_to_string(folder.path().join(name)).expect("lines");
        (told, lines("insights.jsonl"), lines("near.jsonl"), watch.series_count())
    };
    let free = run(None, 0);
    assert_eq!(free.0.last().map(|told| told.0), Some(0));
    // Room for a part of the series, beside what the program takes for itself.
    let bound = Some(83 * MIB);
    let whole = run(bound, 0);
    assert!(whole.0.last().is_some_and(|told| told.0 > 1_000), "{:?}", whole.0.last());
    assert!(whole.3 < free.3 * 2 / 3, "{} of {}", whole.3, free.3);
    for kills in 1..4 {
        assert_eq!(run(bound, kills), whole);
    }
}

#[test]
fn a_lower_ceiling_holds_from_the_first_commit_on_and_is_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |memory: Option<u64>| {
        let run = run::Options { lateness_minutes: 90, ..scan_options() };
        let options = Options { run, clock: Clock::Wall, learns_lateness: false, memory };
        Watch::open(folder.path(), options, detector()).expect("opened")
    };
    let mut watch = open(None);
    for delivery in many_series(40, 2_000) {
        watch.take(&delivery);
        watch.commit(Some(delivery.arrived)).expect("committed");
    }
    let (all, frontier) = (watch.series_count(), watch.frontier());
    drop(watch);
    // Nothing came, and time stands still.
    let mut watch = open(Some(83 << 20));
    watch.commit(None).expect("committed");
    let (kept, evicted) = (watch.series_count(), watch.evicted());
    assert!(kept < all * 2 / 3 && evicted as usize == all - kept, "{kept} of {all}, {evicted}");
    assert_eq!(watch.frontier(), frontier);
    // Replayed from the journal and read from a snapshot it is the same, and no reason for another entry.
    for _ in 0..2 {
        drop(watch);
        watch = open(Some(83 << 20));
        watch.commit(None).expect("committed");
        assert_eq!((watch.series_count(), watch.evicted()), (kept, evicted));
        watch.take_snapshot().expect("a snapshot");
    }
}

#[test]
fn open_minutes_beyond_their_share_are_closed_early_and_every_record_is_counted() {
    let deliveries = many_series(30, 4_000);
    let folder = tempfile::tempdir().expect("a folder");
    let run = run::Options { lateness_minutes: 20 * 60, ..scan_options() };
    // What is left for open minutes holds some five hours.
    let options =
        Options { run, clock: Clock::Wall, learns_lateness: false, memory: Some((80 << 20) + 2 * 40_000 * 38) };
    let mut watch = Watch::open(folder.path(), options, detector()).expect("opened");
    let mut early = 0;
    for delivery in &deliveries {
        watch.take(delivery);
        early += u32::from(watch.commit(Some(delivery.arrived)).expect("committed").closed_early);
        let counters = watch.counters();
        // A commit late: what has just come is measured with the next one.
        assert!(counters.open <= 20_000, "{counters:?}");
        assert_eq!(counters.read, counters.scored + counters.duplicate + counters.late + counters.open);
    }
    assert!(early > 10, "{early}");
}

#[test]
fn the_parts_of_a_day_of_rates_read_back_as_the_whole() {
    let deliveries = many_series(40, 8_000);
    let read = |kills: bool| {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let run = run::Options { lateness_minutes: 60, ..scan_options() };
            Watch::open(
                folder.path(),
                Options { run, clock: Clock::Wall, learns_lateness: false, memory: None },
                detector(),
            )
            .expect("opened")
        };
        let mut watch = open();
        for (place, delivery) in deliveries.iter().enumerate() {
            watch.take(delivery);
            watch.commit(Some(delivery.arrived)).expect("committed");
            if kills && place % 3 == 0 {
                drop(watch);
                watch = open();
            }
        }
        watch.finish().expect("finished");
        let names: Vec<Name> = (0..32_000)
            .map(|name| Name {
                account: "000000000001".to_owned(),
                region: "us-east-1".to_owned(),
                event_source: "ec2.amazonaws.com".to_owned(),
                event_name: format!("Call{name}"),
                category: "Management".to_owned(),
                error_code: None,
            })
            .collect();
        let counts = rates::read(&folder.path().join("rates"), &names, ..).expect("rates");
        let files = walk(&folder.path().join("rates"));
        (files, counts)
    };
    let (files, counts) = read(false);
    assert!(files.iter().any(|file| file.ends_with("rates-000002.parquet")), "{files:?}");
    let total: u64 = counts.values().flatten().map(|(_, count)| count).sum();
    assert_eq!(total, 40 * 8_000);
    assert_eq!(read(true), (files, counts));
}

#[test]
fn what_comes_after_the_end_goes_on_from_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(11, folder.path());
    let state = folder.path().join("state");
    let (expected, _) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
    let middle = objects[objects.len() / 2].delivered.expect("a time").day() * 1_440;
    let (before, after): (Vec<_>, Vec<_>) =
        objects.iter().partition(|object| object.delivered.is_some_and(|delivered| delivered.0 < middle));
    for part in [before, after] {
        let mut watch = open(&state).expect("opened");
        part.iter().for_each(|object| watch.take(&delivery(object)));
        watch.finish().expect("finished");
        // Nothing is left of it for another end.
        assert_eq!(watch.finish().expect("finished again").insights, []);
        assert!(watch.frontier().0 <= minute(14 * 1_440).0, "{}", watch.frontier());
    }
    let counters = open(&state).expect("opened").counters();
    assert!(counters.late * 20 < counters.scored, "{counters:?}");
    let starts = |lines: &[String]| -> BTreeSet<String> {
        let records = lines.iter().map(|line| serde_json::from_str(line).expect("a record"));
        let starts = records.filter(|record: &serde_json::Value| record["insightDetails"]["state"] == "Start");
        starts.map(|record| record["sharedEventID"].to_string()).collect()
    };
    let told = fs::read_to_string(state.join("insights.jsonl")).expect("insights");
    let told = starts(&told.lines().map(str::to_owned).collect::<Vec<_>>());
    let expected = starts(&expected);
    assert!(
        expected.len() > 5 && told.intersection(&expected).count() * 4 >= expected.len() * 3,
        "{told:?} {expected:?}"
    );
}

#[test]
fn other_settings_after_a_kill_leave_what_was_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(12, folder.path());
    let state = folder.path().join("state");
    let model = || Model::from_json(DEFAULT_JSON).expect("the shipped model");
    let strict = || Detector::new(highwater::detector::Options { threshold: Some(2.0), ..Default::default() }, model());
    let with = |detector| {
        let options = Options { run: scan_options(), clock: Clock::Delivery, learns_lateness: false, memory: None };
        Watch::open(&state, options, detector)
    };
    let (mut watch, mut said, mut kills) = (with(detector()).expect("opened"), String::new(), 0);
    for (place, object) in objects.iter().enumerate() {
        watch.take(&delivery(object));
        let newest = watch.newest();
        watch.commit(newest).expect("committed");
        if place % (objects.len() / 12) == 7 {
            kills += 1;
            said = fs::read_to_string(state.join("insights.jsonl")).expect("insights");
            drop(watch);
            watch = with(if kills % 4 > 1 { strict() } else { detector() }).expect("opened with other settings");
            assert_eq!(fs::read_to_string(state.join("insights.jsonl")).expect("insights"), said);
        }
    }
    watch.finish().expect("finished");
    let told = fs::read_to_string(state.join("insights.jsonl")).expect("insights");
    assert!(!said.is_empty() && told.starts_with(&said), "{} {}", said.len(), told.len());
    let files = walk(&state.join("rates"));
    assert!(files.len() >= 12, "{files:?}");
    let counters = watch.counters();
    assert_eq!(
        counters.read,
        counters.scored + counters.duplicate + counters.filtered + counters.late + counters.malformed
    );
}

#[test]
fn a_disk_that_does_not_take_the_rates_costs_nothing_but_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(13, folder.path());
    let (expected, _) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
    let state = folder.path().join("state");
    let rates = state.join("rates");
    let mut watch = open(&state).expect("opened");
    let (mut failures, mut told) = (0, Vec::new());
    for (place, object) in objects.iter().enumerate() {
        watch.take(&delivery(object));
        if place % 5 > 0 {
            continue;
        }
        // No folder can be made where a file is.
        let aside = state.join("aside");
        if rates.exists() {
            fs::rename(&rates, &aside).expect("moved");
        }
        fs::write(&rates, "").expect("in the way");
        let newest = watch.newest();
        let first = watch.commit(newest);
        fs::remove_file(&rates).expect("out of the way");
        if aside.exists() {
            fs::rename(&aside, &rates).expect("moved back");
        }
        match first {
            Ok(committed) => told.extend(committed.insights),
            Err(_) => {
                failures += 1;
                told.extend(watch.commit(newest).expect("committed").insights);
            }
        }
    }
    told.extend(watch.finish().expect("finished").insights);
    assert!(failures > 3, "{failures}");
    assert_eq!(told.iter().map(line).collect::<Vec<_>>(), expected);
    let rows = |root: &Path| -> u64 {
        let names: Vec<Name> =
            told.iter().map(|insight| Name::of_record(&insight.to_record(true)).all_calls()).collect();
        rates::read(root, &names, ..).expect("rates").values().flatten().map(|(_, count)| count).sum()
    };
    let plain = folder.path().join("plain");
    let mut watch = open(&plain).expect("opened");
    objects.iter().for_each(|object| watch.take(&delivery(object)));
    watch.finish().expect("finished");
    assert!(rows(&rates) > 0);
    assert_eq!(rows(&rates), rows(&plain.join("rates")));
}

#[test]
fn what_was_told_early_is_confirmed_also_by_a_commit_that_is_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(3, folder.path());
    let run = run::Options { lateness_minutes: 240, ..scan_options() };
    let options = Options { run, clock: Clock::Wall, learns_lateness: false, memory: None };
    let state = folder.path().join("state");
    let mut watch = Watch::open(&state, options, detector()).expect("opened");
    let (mut failures, mut outcomes) = (0, Vec::new());
    let (rates, aside) = (state.join("rates"), state.join("aside"));
    for object in &objects {
        watch.take(&delivery(object));
        if rates.exists() {
            fs::rename(&rates, &aside).expect("moved");
        }
        // No folder can be made where a file is.
        fs::write(&rates, "").expect("in the way");
        let first = watch.commit(object.delivered);
        fs::remove_file(&rates).expect("out of the way");
        if aside.exists() {
            fs::rename(&aside, &rates).expect("moved back");
        }
        failures += u32::from(first.is_err());
        let committed = first.or_else(|_| watch.commit(object.delivered)).expect("committed");
        outcomes.extend(committed.early);
    }
    outcomes.extend(watch.finish().expect("finished").early);
    let settled: Vec<&str> = outcomes
        .iter()
        .filter_map(|early| match early {
            Early::Settled { outcome, .. } => Some(*outcome),
            Early::Told(_) => None,
        })
        .collect();
    assert!(failures > 3 && settled.len() > 3, "{failures} {settled:?}");
    assert!(settled.iter().all(|outcome| *outcome == "confirmed"), "{settled:?}");
}

#[test]
fn a_name_from_the_future_moves_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = trail(14, folder.path());
    let mut watch = open(folder.path()).expect("opened");
    watch.take(&delivery(&objects[0]));
    let before = watch.newest();
    let mut strange = delivery(&objects[1]);
    strange.name = "123456789012_CloudTrail_us-east-1_20990101T0000Z_AbCdEfGhIjKlMnOp.json.gz".to_owned();
    watch.take(&strange);
    assert_eq!(watch.newest(), before);
}

fn walk(folder: &Path) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for day in fs::read_dir(folder).expect("listed").flatten() {
        for file in fs::read_dir(day.path()).expect("listed").flatten() {
            files.push(format!("{}/{}", day.file_name().to_string_lossy(), file.file_name().to_string_lossy()));
        }
    }
    files.sort();
    files
}

/// Two days of a few calls an hour, then an hour of which some minutes hold thousands, in objects of five hundred.
fn crowded(root: &Path) -> Vec<Object> {
    let folder = root.join("AWSLogs/123456789012/CloudTrail/us-east-1");
    let mut calls: Vec<(i64, &str)> =
        (0..48).flat_map(|hour| (0..3).map(move |call| (hour * 60 + call, "usual"))).collect();
    calls.extend(
        (0..12)
            .flat_map(|minute| (0..if minute % 3 == 0 { 3_000 } else { 20 }).map(move |_| (2_885 + minute, "other"))),
    );
    for (place, some) in calls.chunks(500).enumerate() {
        let records: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(n, (at, role))| {
                let time = Minute(29_500_800 + at);
                format!(
                    r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/{role}/s","accountId":"123456789012"}},"eventTime":"{time}","eventSource":"kms.amazonaws.com","eventName":"CreateKey","awsRegion":"us-east-1","sourceIPAddress":"10.0.0.1","userAgent":"agent","readOnly":false,"eventID":"{:08x}-0000-4000-8000-{n:012x}","eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management"}}"#,
                    // Every fifth event is in two objects.
                    if n % 5 == 0 { place / 2 } else { place }
                )
            })
            .collect();
        let delivered = Minute(29_500_800 + some[some.len() - 1].0 + 5).to_string();
        let name = format!("{}T{}{}Z", delivered[..10].replace('-', ""), &delivered[11..13], &delivered[14..16]);
        let day = folder.join(delivered[..10].replace('-', "/"));
        fs::create_dir_all(&day).expect("a folder");
        let path = day.join(format!("123456789012_CloudTrail_us-east-1_{name}_{place:016}.json"));
        fs::write(path, format!(r#"{{"Records":[{}]}}"#, records.join(","))).expect("written");
    }
    source::find(&[root.join("AWSLogs").to_string_lossy().into_owned()]).expect("found").objects
}

#[test]
fn minutes_with_thousands_of_rows_lie_in_a_file_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = crowded(folder.path());
    let (expected, summary) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
    assert!(expected.len() == 2 && summary.counters.duplicate > 1_000, "{expected:?} {:?}", summary.counters);
    for seed in 0..4 {
        let mut random = Random(seed);
        let state = folder.path().join(format!("state-{seed}"));
        let mut watch = open(&state).expect("opened");
        for delivery in queue(&objects, &mut random) {
            watch.take(&delivery);
            watch.commit(None).expect("committed");
            match random.below(4) {
                0 => {
                    drop(watch);
                    watch = open(&state).expect("opened again");
                }
                1 => watch.take_snapshot().expect("a snapshot"),
                _ => {}
            }
        }
        assert!(watch.counters().open > 12_000);
        watch.finish().expect("finished");
        let told = fs::read_to_string(state.join("insights.jsonl")).expect("insights");
        assert_eq!(told.lines().collect::<Vec<_>>(), expected, "seed {seed}");
        assert_eq!(watch.counters().scored, summary.counters.scored);
        // Nothing of the file is to be seen.
        let files = fs::read_dir(&state).expect("listed").flatten().map(|entry| entry.file_name());
        let names: BTreeSet<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
        assert!(!names.iter().any(|name| name.starts_with(".tmp")), "{names:?}");
    }
}

#[test]
fn rows_that_cannot_be_read_back_end_the_process_and_are_there_again_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = open(folder.path()).expect("opened");
    let line = format!(
        r#"{{"eventVersion":"1.11","eventTime":"{}","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"000000000001","eventCategory":"Management"}}"#,
        minute(7)
    );
    let bytes = format!("{line}\n").repeat(5_000).into_bytes();
    watch.take(&Delivery { name: "push".to_owned(), bytes, arrived: minute(9) });
    watch.commit(None).expect("on the disk");
    assert_eq!((watch.counters().read, watch.counters().open), (5_000, 5_000));
    // The disk forgets what lies in the file without a name.
    let mut emptied = 0;
    for descriptor in fs::read_dir("/proc/self/fd").expect("descriptors").flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else { continue };
        let target = target.to_string_lossy();
        if target.starts_with(&*folder.path().to_string_lossy()) && target.ends_with(" (deleted)") {
            let file = fs::OpenOptions::new().write(true).open(descriptor.path()).expect("opened");
            file.set_len(0).expect("emptied");
            emptied += 1;
        }
    }
    assert_eq!(emptied, 1);
    assert!(matches!(watch.finish(), Err(WatchError::Lost { .. })));
    drop(watch);
    let mut watch = open(folder.path()).expect("opened again");
    watch.finish().expect("finished");
    assert_eq!((watch.counters().scored, watch.counters().open), (5_000, 0));
}
