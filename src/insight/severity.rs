//! How much an insight matters: points for what makes it certain, large, or dangerous, and five words for their sum.
//! Knows numbers only.
//!
//! | points | 1 | 2 | 3 |
//! |---|---|---|---|
//! | score above the threshold by | 1 | 4 | 7 |
//! | extra calls | 50 | 500 | |
//! | times the baseline average (silent: any) | 10 | | |
//! | a caller new to the API | yes | | |
//! | a sensitive API (`sensitive.rs`) | | yes | |
//!
//! 0 points: `info`; 1: `low`; 2 or 3: `medium`; 4 or 5: `high`; 6 or more: `critical`. More of anything never lowers it.

/// What is weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Score minus threshold.
    pub margin: f64,
    /// Calls beyond what the baseline average would have brought.
    pub extra: f64,
    /// Insight average over baseline average; infinity over a silent baseline.
    pub ratio: f64,
    pub new_caller: bool,
    pub sensitive: bool,
}

const MARGINS: [f64; 3] = [1.0, 4.0, 7.0];
const EXTRAS: [f64; 2] = [50.0, 500.0];
const RATIO: f64 = 10.0;
const SENSITIVE_POINTS: usize = 2;

/// `info`, `low`, `medium`, `high` or `critical`: see the table above.
pub fn severity(weights: &Weights) -> &'static str {
    let reached = |steps: &[f64], value: f64| steps.iter().filter(|step| value >= **step).count();
    let points = reached(&MARGINS, weights.margin)
        + reached(&EXTRAS, weights.extra)
        + reached(&[RATIO], weights.ratio)
        + usize::from(weights.new_caller)
        + SENSITIVE_POINTS * usize::from(weights.sensitive);
    match points {
        0 => "info",
        1 => "low",
        2 | 3 => "medium",
        4 | 5 => "high",
        _ => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&str; 5] = ["info", "low", "medium", "high", "critical"];

    fn rank(weights: &Weights) -> usize {
        let word = severity(weights);
        WORDS.iter().position(|known| *known == word).expect("one of five words")
    }

    fn any_weights() -> impl Strategy<Value = Weights> {
        (-5.0..20.0f64, 0.0..2_000.0f64, 0.0..50.0f64, any::<bool>(), any::<bool>()).prop_map(
            |(margin, extra, ratio, new_caller, sensitive)| Weights { margin, extra, ratio, new_caller, sensitive },
        )
    }

    proptest! {
        #[test]
        fn more_of_anything_never_lowers_it(less in any_weights(), more in any_weights()) {
            let rank_before = rank(&less);
            for raised in [
                Weights { margin: less.margin.max(more.margin), ..less },
                Weights { extra: less.extra.max(more.extra), ..less },
                Weights { ratio: less.ratio.max(more.ratio), ..less },
                Weights { new_caller: true, ..less },
                Weights { sensitive: true, ..less },
            ] {
                prop_assert!(rank(&raised) >= rank_before, "{less:?} to {raised:?}");
            }
        }
    }

    #[test]
    fn the_points_of_the_table() {
        let nothing = Weights { margin: 0.0, extra: 0.0, ratio: 0.0, new_caller: false, sensitive: false };
        let burst = Weights { margin: 4.0, extra: 60.0, ratio: 14.0, ..nothing };
        for (weights, word) in [
            (nothing, "info"),
            (Weights { new_caller: true, ..nothing }, "low"),
            (Weights { sensitive: true, ..nothing }, "medium"),
            (Weights { margin: 1.0, ratio: f64::INFINITY, ..nothing }, "medium"),
            (burst, "high"),
            (Weights { sensitive: true, ..burst }, "critical"),
            (Weights { margin: f64::NAN, ..nothing }, "info"),
        ] {
            assert_eq!(severity(&weights), word, "{weights:?}");
        }
    }
}
