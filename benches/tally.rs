//! What counting costs once events are read: adding a day of one account, merging two halves, closing it. Throughput
//! counts events.

mod traffic;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use highwater::event::Minute;
use highwater::window::{Counts, Tally};
use traffic::{Account, FIRST_DAY, day};

const CALLS: usize = 100_000;

fn counting(criterion: &mut Criterion) {
    let (account, calls) = (Account::new(), day(FIRST_DAY, CALLS));
    let tally = |calls: &[traffic::Call]| {
        let mut tally = Tally::default();
        calls.iter().for_each(|call| tally.add(&account.event(call)));
        tally
    };
    let mut group = criterion.benchmark_group("tally");
    group.throughput(Throughput::Elements(CALLS as u64));
    group.bench_function("counts only", |bencher| {
        bencher.iter(|| {
            let mut counts = Counts::default();
            calls.iter().for_each(|call| counts.add(&account.event(call)));
            counts.finish()
        });
    });
    group.bench_function("add", |bencher| bencher.iter_with_large_drop(|| tally(&calls)));
    group.bench_function("merge", |bencher| {
        let (first, second) = calls.split_at(CALLS / 2);
        let halves = || (tally(first), tally(second));
        bencher.iter_batched(
            halves,
            |(mut first, second)| {
                first.merge(second);
                first
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("close", |bencher| {
        bencher.iter_batched(
            || tally(&calls),
            |mut tally| {
                let closed = tally.close_before(Minute(i64::MAX));
                assert_eq!(closed.duplicates, 0);
                closed
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, counting);
criterion_main!(benches);
