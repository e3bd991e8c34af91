//! Fits what the forecast knows before a series has spoken: priors by class of API and the shapes of a week, from the
//! calls of many accounts; and says how well a forecast foretold accounts. Knows nothing of the judge.
//!
//! Empirical Bayes by moments (H. Robbins, 1956; B. Efron and C. Morris, 1973). Rates: over the first days of the series
//! of a class, the mean m of the rates and their variance V, less the variance m / minutes that Poisson counts add, are
//! those of a gamma variable: events = m^2 / V, minutes = m / V. Overdispersion: the credibility of Bühlmann and Straub
//! (1970): its weight is the variance of single blocks over the variance between series. Classes of few series are drawn
//! towards all calls or all errors.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::week::{self, Week};
use super::{Make, rounded};
use crate::baseline::{Baseline, Class, Peers, Pooled, Predictive, Prior, Priors, Seasons, WEEK_HOURS, overdispersion};
use crate::event::{Category, Minute};
use crate::train::labelled::{Labelled, Truth};
use crate::window::{Attribute, Calls, Closed};

const MINUTES_PER_HOUR: u32 = 60;
/// A series is young for three days: what a prior is for.
const YOUNG_HOURS: u32 = 72;
/// A class of so many series counts as much as all series together.
const SERIES_OF_ALL: f64 = 20.0;
/// Weeks of series with fewer calls, or seen for less than two weeks, say little of a shape.
const WEEK_CALLS_MIN: f64 = 300.0;
const WEEK_HOURS_MIN: u32 = 2 * WEEK_HOURS as u32;
/// No hour of a week counts for more than so many hours of mean rate, lest one batch be a shape.
const WEEK_PEAK: f64 = 20.0;
/// Overdispersion is learned from blocks (minutes, hours) that are expected to have so many calls: below, there is
/// Poisson noise and nothing else to see.
const BLOCK_CALLS_MIN: f64 = 1.0;
/// What remains of the weight of overdispersion: credibility takes it for a constant of the series, but it drifts. The
/// share was chosen by the log score of other accounts than those learned from.
const PHI_WEIGHT_SHARE: f64 = 0.25;
/// Bounds of what few or odd series may claim.
const EVENTS: Range<f64> = 0.02..5.0;
const PHI: Range<f64> = 0.02..5.0;
const PHI_WEIGHT: Range<f64> = 1.0..100.0;

/// The calls of one API, or its errors of one code.
struct Series {
    class: Class,
    /// Minutes with calls, in ascending order; at least one.
    minutes: Vec<(u32, u32)>,
    /// The hour after the last whole one of the trail.
    end_hour: u32,
}

/// What one series teaches.
struct Lesson {
    class: Class,
    /// Calls per minute while young, and the variance that Poisson counts give it.
    rate: f64,
    noise: f64,
    minute: Blocks,
    hour: Blocks,
    week: Option<Box<Week>>,
}

/// Sums over blocks (minutes, hours) of what each says of phi: weight, and weight times value and value squared.
#[derive(Clone, Copy, Default)]
struct Blocks {
    weight: f64,
    value: f64,
    square: f64,
}

impl Blocks {
    fn add(&mut self, (excess, weight): (f64, f64)) {
        self.weight += weight;
        self.value += excess;
        self.square += excess * excess / weight;
    }
}

/// How well accounts were foretold: mean ln probability of the calls of each hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogScore {
    pub hours: u64,
    pub mean: f64,
    /// Of the first three days of each series.
    pub young_hours: u64,
    pub young_mean: f64,
}

/// Priors and seasons of these accounts; provenance is for the caller to fill in.
pub fn forecast(accounts: &[Make], threads: usize) -> (Priors, Seasons) {
    let lessons: Vec<Lesson> =
        each(accounts, threads, |account| series_of(account).iter().map(lesson).collect::<Vec<_>>())
            .into_iter()
            .flatten()
            .collect();
    let priors = Priors::new("priors/1", |class| prior(class, &lessons));
    let weeks: Vec<Week> = lessons.iter().filter_map(|lesson| lesson.week.as_deref().cloned()).collect();
    let seasons = Seasons::new("seasons/1", serde_json::Value::Null, week::shapes(&weeks)).expect("shapes of mean 1");
    (priors, seasons)
}

/// How well these accounts are foretold, hour by hour, each from the hours before it.
pub fn log_score(accounts: &[Make], pooled: &Pooled, threads: usize) -> LogScore {
    let sums = each(accounts, threads, |account| {
        let mut sums = LogScore::default();
        for series in series_of(account) {
            let first = series.minutes[0].0 / MINUTES_PER_HOUR;
            walk(&series, pooled.peers(series.class), |hour, predictive, calls, _| {
                let ln_probability = predictive.ln_probability(60.0, calls);
                sums.hours += 1;
                sums.mean += ln_probability;
                if hour < first + YOUNG_HOURS {
                    sums.young_hours += 1;
                    sums.young_mean += ln_probability;
                }
            });
        }
        sums
    });
    let mut score = LogScore::default();
    for sum in sums {
        score.hours += sum.hours;
        score.mean += sum.mean;
        score.young_hours += sum.young_hours;
        score.young_mean += sum.young_mean;
    }
    score.mean /= score.hours.max(1) as f64;
    score.young_mean /= score.young_hours.max(1) as f64;
    score
}

/// What `learn` makes of each account, in the order of accounts.
fn each<T: Send>(accounts: &[Make], threads: usize, learn: impl Fn(Labelled) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(accounts.iter().map(|_| None).collect::<Vec<Option<T>>>());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, accounts.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(make) = accounts.get(place) else { break };
                    let learned = learn(make());
                    results.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[place] = Some(learned);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_iter().flatten().collect()
}

/// Every series of an account, without the minutes of its truths.
fn series_of(mut account: Labelled) -> Vec<Series> {
    let closed = account.calls.close_before(account.end);
    let end_hour = account.end.hour() as u32;
    let mut found = Vec::new();
    for calls in closed.calls.chunk_by(|a, b| a.api == b.api) {
        let [account_id, region, event_source, event_name, category] = closed.api(calls[0].api);
        let of_api = |truth: &&Truth| {
            truth.event_name == event_name
                && truth.event_source == event_source
                && truth.region == region
                && truth.account_id == account_id
        };
        let truths: Vec<&Truth> = account.truths.iter().filter(of_api).collect();
        let is_plain = |calls: &&Calls| {
            let minute = Minute(i64::from(calls.minute));
            minute.hour() < i64::from(end_hour)
                && !truths.iter().any(|truth| truth.start <= minute && minute < truth.end)
        };
        let plain: Vec<&Calls> = calls.iter().filter(is_plain).collect();
        let mut add = |is_error_rate, calls: &mut dyn Iterator<Item = &Calls>| {
            let mut minutes: Vec<(u32, u32)> = Vec::new();
            for calls in calls {
                match minutes.last_mut().filter(|(minute, _)| *minute == calls.minute) {
                    Some((_, count)) => *count += calls.count,
                    None => minutes.push((calls.minute, calls.count)),
                }
            }
            if !minutes.is_empty() {
                let class = Class::of(event_name, is_error_rate, Category::parse(category));
                found.push(Series { class, minutes, end_hour });
            }
        };
        add(false, &mut plain.iter().copied());
        let code = |calls: &Calls| error_code(&closed, calls);
        let mut codes: Vec<&str> = plain.iter().map(|calls| code(calls)).filter(|code| !code.is_empty()).collect();
        codes.sort_unstable();
        codes.dedup();
        for wanted in codes {
            add(true, &mut plain.iter().copied().filter(|calls| code(calls) == wanted));
        }
    }
    found
}

fn error_code<'a>(closed: &'a Closed, calls: &Calls) -> &'a str {
    closed.caller(calls.caller)[Attribute::ErrorCode as usize]
}

/// Hands over each hour of a series: its number, what was foretold, its calls, and its minutes with calls.
fn walk(series: &Series, peers: Peers, mut visit: impl FnMut(u32, &Predictive, u64, &[(u32, u32)])) {
    let mut baseline = Baseline::default();
    let mut rest = series.minutes.as_slice();
    for hour in series.minutes[0].0 / MINUTES_PER_HOUR..series.end_hour {
        let start = Minute(i64::from(hour * MINUTES_PER_HOUR));
        baseline.advance(start, peers);
        let within = rest.partition_point(|(minute, _)| minute / MINUTES_PER_HOUR == hour);
        let (minutes, later) = rest.split_at(within);
        rest = later;
        let calls = minutes.iter().map(|(_, count)| u64::from(*count)).sum();
        visit(hour, &baseline.predict(start, peers), calls, minutes);
        for &(minute, count) in minutes {
            baseline.learn(Minute(i64::from(minute)), u64::from(count), peers);
        }
    }
}

fn lesson(series: &Series) -> Lesson {
    let flat = Seasons::flat("");
    let peers = Peers { prior: Prior::WEAK, seasons: &flat };
    let first = series.minutes[0].0 / MINUTES_PER_HOUR;
    let (mut minute, mut hour_blocks) = (Blocks::default(), Blocks::default());
    let mut week = Week { calls: [0.0; WEEK_HOURS], hours: [0.0; WEEK_HOURS] };
    let (mut young_calls, mut young_minutes) = (0.0, 0.0);
    let all: f64 = series.minutes.iter().map(|(_, count)| f64::from(*count)).sum();
    let hours = series.end_hour - first;
    let peak = WEEK_PEAK * all / f64::from(hours);
    walk(series, peers, |hour, predictive, calls, minutes| {
        let squares: f64 = minutes.iter().map(|(_, count)| f64::from(*count).powi(2)).sum();
        let calls = calls as f64;
        if hour < first + YOUNG_HOURS {
            young_calls += calls;
            young_minutes += f64::from(MINUTES_PER_HOUR);
        } else {
            // What was foretold while nothing was known says nothing of how counts scatter around it.
            let mean = predictive.mean();
            let around = squares - 2.0 * mean * calls + 60.0 * mean * mean;
            if mean >= BLOCK_CALLS_MIN {
                minute.add(overdispersion(around, mean, 60.0));
            }
            let mean = 60.0 * mean;
            if mean >= BLOCK_CALLS_MIN {
                hour_blocks.add(overdispersion((calls - mean).powi(2), mean, 1.0));
            }
        }
        let place = hour as usize % WEEK_HOURS;
        week.calls[place] += calls.min(peak);
        week.hours[place] += 1.0;
    });
    let has_week = all >= WEEK_CALLS_MIN && hours >= WEEK_HOURS_MIN;
    Lesson {
        class: series.class,
        rate: young_calls / young_minutes,
        noise: young_calls / (young_minutes * young_minutes),
        minute,
        hour: hour_blocks,
        week: has_week.then(|| Box::new(week)),
    }
}

/// The prior of a class, and how many series it is from.
fn prior(class: Class, lessons: &[Lesson]) -> (u64, Prior) {
    let alike: Vec<&Lesson> =
        lessons.iter().filter(|lesson| lesson.class.is_error_rate() == class.is_error_rate()).collect();
    let own: Vec<&Lesson> = alike.iter().filter(|lesson| lesson.class == class).copied().collect();
    if alike.is_empty() {
        return (0, Prior::WEAK);
    }
    let share = own.len() as f64 / (own.len() as f64 + SERIES_OF_ALL);
    let shrunk = |of: &dyn Fn(&[&Lesson]) -> f64| {
        let all = of(&alike);
        if own.is_empty() { all } else { all + share * (of(&own) - all) }
    };
    let mean = |lessons: &[&Lesson]| lessons.iter().map(|lesson| lesson.rate).sum::<f64>() / lessons.len() as f64;
    // A class's busiest series are few and rule its variance: what is drawn towards all is how wide it is for its mean.
    let events = shrunk(&|lessons| {
        let rate = mean(lessons);
        let squares = lessons.iter().map(|lesson| (lesson.rate - rate).powi(2) - lesson.noise);
        let variance = squares.sum::<f64>() / lessons.len() as f64;
        (rate * rate / variance.max(f64::MIN_POSITIVE)).clamp(EVENTS.start, EVENTS.end).ln()
    })
    .exp();
    let ln_rate = shrunk(&|lessons| mean(lessons).ln());
    let credibility = |blocks: fn(&Lesson) -> Blocks| {
        let part = |place: usize| {
            shrunk(&|lessons| {
                let blocks: Vec<Blocks> = lessons.iter().map(|lesson| blocks(lesson)).collect();
                let (phi, weight) = credible(&blocks);
                [phi.ln(), weight.ln()][place]
            })
        };
        (rounded(part(0).exp()), rounded(part(1).exp()))
    };
    let (minute_phi, minute_phi_weight) = credibility(|lesson| lesson.minute);
    let (hour_phi, hour_phi_weight) = credibility(|lesson| lesson.hour);
    let prior = Prior {
        events: rounded(events),
        minutes: rounded(events / ln_rate.exp()),
        minute_phi,
        minute_phi_weight,
        hour_phi,
        hour_phi_weight,
    };
    (own.len() as u64, prior)
}

/// Mean over series of phi, and the weight that it has against a series' own: Bühlmann and Straub.
fn credible(series: &[Blocks]) -> (f64, f64) {
    let series: Vec<&Blocks> = series.iter().filter(|blocks| blocks.weight > 1.0).collect();
    let total: f64 = series.iter().map(|blocks| blocks.weight).sum();
    if series.len() < 2 {
        return (Prior::WEAK.hour_phi, Prior::WEAK.hour_phi_weight);
    }
    let mean = series.iter().map(|blocks| blocks.value).sum::<f64>() / total;
    let within: f64 = series.iter().map(|blocks| blocks.square - blocks.value * blocks.value / blocks.weight).sum();
    let within = within / (total - series.len() as f64).max(1.0);
    let around: f64 = series.iter().map(|blocks| blocks.weight * (blocks.value / blocks.weight - mean).powi(2)).sum();
    let squares: f64 = series.iter().map(|blocks| blocks.weight * blocks.weight).sum();
    let between = (around - (series.len() as f64 - 1.0) * within) / (total - squares / total);
    let weight = (within / between.max(f64::MIN_POSITIVE)).clamp(PHI_WEIGHT.start, PHI_WEIGHT.end);
    // Each series counts by its credibility, not by its length.
    let (mut sum, mut weights) = (0.0, 0.0);
    for blocks in series {
        let credibility = blocks.weight / (blocks.weight + weight);
        sum += credibility * blocks.value / blocks.weight;
        weights += credibility;
    }
    ((sum / weights).clamp(PHI.start, PHI.end), PHI_WEIGHT_SHARE * weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::draw::Draw;
    use crate::train::worlds;

    /// A series of this rate, in calls per minute, known without noise.
    fn lesson_of(class: Class, rate: f64) -> Lesson {
        Lesson { class, rate, noise: 0.0, minute: Blocks::default(), hour: Blocks::default(), week: None }
    }

    #[test]
    fn a_gamma_of_rates_is_found_again_and_a_class_of_few_follows_all() {
        let mut draw = Draw::new(&[11]);
        let common = Class::of("CreateUser", false, Category::Management);
        let rare = Class::of("Invoke", false, Category::Data);
        let absent = Class::of("DeleteUser", false, Category::Management);
        let mut lessons: Vec<Lesson> = (0..4_000).map(|_| lesson_of(common, 0.5 * draw.gamma(2.0))).collect();
        lessons.push(lesson_of(rare, 40.0));
        let (count, found) = prior(common, &lessons[..4_000]);
        assert_eq!(count, 4_000);
        assert!((found.events - 2.0).abs() < 0.2 && (found.minutes - 4.0).abs() < 0.4, "{found:?}");

        let rate = |class| {
            let (_, prior) = prior(class, &lessons);
            prior.events / prior.minutes
        };
        assert!(rate(rare) > rate(common) && rate(rare) < 1.0, "one series is not a class: {}", rate(rare));
        assert!((rate(absent) - rate(common)).abs() < 0.05);
        // Nothing is known of errors.
        assert_eq!(prior(Class::of("CreateUser", true, Category::Management), &lessons), (0, Prior::WEAK));
    }

    #[test]
    fn overdispersion_is_the_mean_over_series_and_its_weight_falls_as_series_differ() {
        let mut draw = Draw::new(&[12]);
        // 40 blocks each, scattered around the series' own value.
        let mut series = |spread: f64| -> Vec<Blocks> {
            let mut all = Vec::new();
            for place in 0..500 {
                let own = 1.0 + spread * (f64::from(place % 3) - 1.0);
                let mut blocks = Blocks::default();
                (0..40).for_each(|_| blocks.add((own + draw.normal(), 1.0)));
                all.push(blocks);
            }
            all
        };
        let (alike, heavy) = credible(&series(0.1));
        let (unlike, light) = credible(&series(0.9));
        assert!((alike - 1.0).abs() < 0.1 && (unlike - 1.0).abs() < 0.1, "{alike} {unlike}");
        // Variance 1 within; between series two thirds of the spread squared.
        assert!((light / PHI_WEIGHT_SHARE - 1.0 / (0.9 * 0.9 * 2.0 / 3.0)).abs() < 0.4, "{light}");
        assert!(heavy > 10.0 * light, "{heavy} {light}");
    }

    #[test]
    fn equal_accounts_give_equal_bytes_with_any_number_of_threads_and_foretell_themselves_better() {
        let accounts: Vec<Make> = (0..4)
            .map(|seed| {
                let options =
                    worlds::Options { days: Some(15), series: Some(50), anomalies: false, ..Default::default() };
                Box::new(move || worlds::labelled(seed, &options)) as Make
            })
            .collect();
        let bytes = |threads| serde_json::to_string(&forecast(&accounts, threads)).expect("JSON");
        let once = bytes(1);
        assert_eq!(once, bytes(3));

        let (priors, seasons) = forecast(&accounts, 2);
        assert!(seasons.shapes().len() > 1, "enough weeks for groups");
        let read = Priors::from_json(&serde_json::to_string(&priors).expect("JSON")).expect("a sound table");
        assert_eq!(read, priors);
        let weak = Pooled { priors: Priors::new("", |_| (0, Prior::WEAK)), seasons: Seasons::flat("") };
        let before = log_score(&accounts, &weak, 2);
        let after = log_score(&accounts, &Pooled { priors, seasons }, 2);
        assert_eq!((before.hours, before.young_hours), (after.hours, after.young_hours));
        assert!(after.mean > before.mean && after.young_mean > before.young_mean, "{before:?} {after:?}");
    }
}
