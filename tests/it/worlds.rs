//! `train::worlds`: an account is its seed's, and its truths are true. Counts with sums of its own.

use std::collections::BTreeMap;

use highwater::event::{MINUTES_PER_DAY, Minute};
use highwater::train::labelled::{Duty, Labelled, Truth};
use highwater::train::worlds::{Options, labelled};
use highwater::window::Closed;

fn small() -> Options {
    Options { days: Some(21), series: Some(40), ..Options::default() }
}

/// Region, source, name.
type Name = (String, String, String);
/// By minute of the trail, then by (principal, error code).
type Counts = BTreeMap<Name, Vec<BTreeMap<(String, String), u32>>>;

/// All calls of an account, and the first minute of its trail.
fn counts(world: Labelled) -> (Counts, i64) {
    let begin = world.live_from.0 - 7 * MINUTES_PER_DAY;
    let (end, mut calls) = (world.end, world.calls);
    let closed: Closed = calls.close_before(end);
    assert!(calls.is_empty(), "calls behind the end");
    let mut counts = Counts::new();
    for cell in &closed.calls {
        let [_, region, source, name, _] = closed.api(cell.api).map(str::to_owned);
        let [principal, _, _, _, _, code, _] = closed.caller(cell.caller).map(str::to_owned);
        let minutes =
            counts.entry((region, source, name)).or_insert_with(|| vec![BTreeMap::new(); (end.0 - begin) as usize]);
        *minutes[(i64::from(cell.minute) - begin) as usize].entry((principal, code)).or_default() += cell.count;
    }
    (counts, begin)
}

fn name(truth: &Truth) -> Name {
    (truth.region.clone(), truth.event_source.clone(), truth.event_name.clone())
}

/// Calls, or errors of the truth's code, minute by minute.
fn rate(counts: &Counts, truth: &Truth) -> Vec<u32> {
    let counted = |code: &str| truth.error_code.as_ref().is_none_or(|wanted| wanted == code);
    let minutes = &counts[&name(truth)];
    minutes.iter().map(|m| m.iter().filter(|((_, code), _)| counted(code)).map(|(_, n)| n).sum()).collect()
}

fn record(counts: &[u32], width: usize) -> f64 {
    counts.windows(width).map(|window| window.iter().sum::<u32>()).max().unwrap_or(0).into()
}

#[test]
fn a_seed_is_an_account() {
    let bytes = |seed| labelled(seed, &small()).calls.to_bytes().unwrap();
    assert_eq!(bytes(3), bytes(3));
    assert_ne!(bytes(3), bytes(4));
    assert_eq!(labelled(3, &small()).truths, labelled(3, &small()).truths);
    // Taken down once: the same on every platform.
    let digest = bytes(3)
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    assert_eq!(digest, DIGEST_OF_3, "{digest:#x}");
}

/// FNV-1a over the stored tally of seed 3.
const DIGEST_OF_3: u64 = 0xb2f6_beda_0dac_453e;

#[test]
fn truths_lie_in_the_live_part_and_have_calls_at_both_ends() {
    for seed in 0..12 {
        let world = labelled(seed, &small());
        let (live_from, end, truths) = (world.live_from, world.end, world.truths.clone());
        assert_eq!(end.0 - live_from.0, 14 * MINUTES_PER_DAY);
        let (counts, begin) = counts(world);
        for truth in truths {
            assert!(truth.start >= live_from && truth.start < truth.end && truth.end <= end, "seed {seed}: {truth:?}");
            if truth.duty == Duty::Benign {
                assert!(truth.arn.is_none() && !truth.insider, "seed {seed}: {truth:?}");
                continue;
            }
            assert!(truth.start >= Minute(live_from.0 + MINUTES_PER_DAY), "seed {seed}: {truth:?}");
            if truth.error_code.is_none() || truth.kind == "error_flood" {
                let rate = rate(&counts, &truth);
                let at = |minute: Minute| rate[(minute.0 - begin) as usize];
                assert!(at(truth.start) > 0 && at(Minute(truth.end.0 - 1)) > 0, "seed {seed}: {truth:?}");
            }
        }
    }
}

#[test]
fn what_is_required_stands_out_against_its_week() {
    let mut seen = 0;
    for seed in 0..12 {
        let world = labelled(seed, &small());
        let required: Vec<Truth> = world.truths.iter().filter(|truth| truth.duty == Duty::Required).cloned().collect();
        let (counts, begin) = counts(world);
        for truth in required {
            let rate = rate(&counts, &truth);
            let (start, end) = ((truth.start.0 - begin) as usize, (truth.end.0 - begin) as usize);
            let width = end - start;
            let ratio = if truth.kind == "off_hours" {
                let night = |back: usize| &rate[start - back * 1_440 - 90..end - back * 1_440 + 90];
                let before = (1..=6).map(|back| record(night(back), width)).fold(1.0, f64::max);
                record(&rate[start..end], width) / before
            } else {
                let past = &rate[start - 7 * 1_440..start];
                let widths = [1, 5, 15, 60, width].into_iter().filter(|w| *w <= width);
                widths.map(|w| record(&rate[start..end], w) / record(past, w).max(1.0)).fold(0.0, f64::max)
            };
            assert!(ratio >= 1.3, "seed {seed}: {ratio} of the record: {truth:?}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} required truths");
}

/// Bursts that had someone who called their API in the seven days before, and whether the truth names that caller.
fn insiders(share: f64) -> (u32, u32) {
    let (mut bursts, mut inside) = (0, 0);
    for seed in 0..12 {
        let world = labelled(seed, &Options { insiders: share, ..small() });
        let truths = world.truths.clone();
        let (counts, begin) = counts(world);
        for truth in truths {
            let again =
                truth.kind == "error_flood_calls" || (truth.error_code.is_some() && truth.kind != "error_flood");
            if truth.duty == Duty::Benign || again {
                continue;
            }
            let day = (truth.start.0 - begin) / MINUTES_PER_DAY * MINUTES_PER_DAY;
            let mut callers = BTreeMap::new();
            for minute in &counts[&name(&truth)][(day - 7 * MINUTES_PER_DAY) as usize..day as usize] {
                minute.iter().for_each(|((who, _), n)| *callers.entry(who.as_str()).or_insert(0) += n);
            }
            let most = callers.values().max().copied().unwrap_or(0);
            bursts += u32::from(most > 0);
            inside += u32::from(truth.insider);
            // An earlier burst on the series may have made someone else the busiest of the week; they still called.
            if let (true, Some(arn)) = (truth.insider, &truth.arn) {
                assert!(callers.contains_key(arn.as_str()), "seed {seed}: {truth:?} {callers:?}");
            }
        }
    }
    (bursts, inside)
}

#[test]
fn insiders_make_the_asked_share_of_bursts() {
    assert_eq!(insiders(0.0).1, 0);
    let (bursts, inside) = insiders(1.0);
    // Where only an earlier burst called, there is no usual caller.
    assert!(inside <= bursts && inside * 100 >= bursts * 95, "{inside} of {bursts}");
    let (bursts, inside) = insiders(0.5);
    assert!((0.4..0.6).contains(&(f64::from(inside) / f64::from(bursts))), "{inside} of {bursts}");
}

#[test]
fn a_quiet_world_has_harmless_changes_only() {
    let mut changes = 0;
    for seed in 0..12 {
        let truths = labelled(seed, &Options { anomalies: false, ..small() }).truths;
        assert!(truths.iter().all(|truth| truth.duty == Duty::Benign), "seed {seed}: {truths:?}");
        changes += truths.len();
    }
    assert!(changes > 10, "{changes} changes");
}

#[test]
fn odd_options_are_moved_into_range() {
    for (days, series) in [(0, 0), (14, 1), (1_000, 3)] {
        let options = Options { days: Some(days), series: Some(series), ..Options::default() };
        let world = labelled(9, &options);
        let length = (world.end.0 - world.live_from.0) / MINUTES_PER_DAY + 7;
        assert!((14..=60).contains(&length), "{length} days");
    }
}
