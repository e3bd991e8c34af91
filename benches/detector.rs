//! What a minute of one account costs the detector: 300 call-rate series and their error series with two weeks behind
//! them, advanced by a day. Throughput counts minutes of the account, so the time of one element is a detector minute.

mod traffic;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use highwater::detector::{Detector, Options};
use highwater::event::{MINUTES_PER_DAY, Minute};
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::window::Tally;
use traffic::{APIS, Account, FIRST_DAY, day};

const DAYS: i64 = 14;

fn model() -> Model {
    Model::from_json(DEFAULT_JSON).expect("the shipped model")
}

fn advancing(criterion: &mut Criterion) {
    let account = Account::new();
    let mut group = criterion.benchmark_group("detector");
    group.throughput(Throughput::Elements(MINUTES_PER_DAY as u64));
    for calls_per_day in [5_000, 50_000] {
        let tally = |which: i64| {
            let mut tally = Tally::default();
            day(FIRST_DAY + which, calls_per_day).iter().for_each(|call| tally.add(&account.event(call)));
            tally
        };
        let end = |which: i64| Minute((FIRST_DAY + which + 1) * MINUTES_PER_DAY);
        let mut detector = Detector::new(Options::default(), model());
        for which in 0..DAYS {
            detector.merge(tally(which));
            detector.advance(end(which), 1);
        }
        assert!(detector.series_count() >= APIS, "every API has a series");
        let (past, today) = (detector.snapshot().expect("a snapshot"), tally(DAYS).to_bytes().expect("a tally"));
        group.bench_function(BenchmarkId::new("advance", format!("{calls_per_day} calls a day")), |bencher| {
            let ready = || {
                let mut detector = Detector::restore(Options::default(), model(), &past).expect("the same snapshot");
                detector.merge(Tally::from_bytes(&today).expect("the same tally"));
                detector
            };
            bencher.iter_batched(
                ready,
                |mut detector| {
                    let advance = detector.advance(end(DAYS), 1);
                    assert_eq!(advance.events, calls_per_day as u64);
                    (detector, advance)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, advancing);
criterion_main!(benches);
