//! What many series have taught about one that has said little: [`Pooled`] holds the [`Priors`] and the [`Seasons`],
//! [`Peers`] what of them concerns one class. Learned in `train`, never here.

use std::sync::LazyLock;

use thiserror::Error;

use super::priors::{Class, PRIORS_JSON, Prior, Priors};
use super::shapes::{SEASONS_JSON, Seasons};

/// Why priors or seasons cannot be used.
#[derive(Debug, Error)]
pub enum PooledError {
    #[error("the priors are not valid JSON of the expected shape: {0}")]
    PriorsJson(#[source] serde_json::Error),
    #[error(
        "the priors must have one row for each class in its place; {}",
        missing.as_ref().map_or("they are in another order".to_owned(), |class| format!("{class} is missing"))
    )]
    Classes { missing: Option<String> },
    #[error("the prior of {class}: {field} is {value}; it must be a number above 0")]
    Prior { class: String, field: &'static str, value: f64 },
    #[error("the seasons are not valid JSON of the expected shape: {0}")]
    SeasonsJson(#[source] serde_json::Error),
    #[error("the seasons have {0} shapes; they need 1 to 10")]
    Shapes(usize),
    #[error("the weights of the seasons' shapes add up to {0}; they must be above 0 and add up to 1")]
    Weights(f64),
    #[error("shape {place} of the seasons: {reason}")]
    Shape { place: usize, reason: &'static str },
}

/// Everything that the forecast knows from training.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled {
    pub priors: Priors,
    pub seasons: Seasons,
}

static SHIPPED: LazyLock<Pooled> = LazyLock::new(|| Pooled {
    priors: Priors::from_json(PRIORS_JSON).expect("the shipped priors are sound: a test reads them"),
    seasons: Seasons::from_json(SEASONS_JSON).expect("the shipped seasons are sound: a test reads them"),
});

impl Pooled {
    /// What comes with Highwater.
    pub fn shipped() -> &'static Pooled {
        &SHIPPED
    }

    pub fn peers(&self, class: Class) -> Peers<'_> {
        Peers { prior: self.priors.of(class), seasons: &self.seasons }
    }
}

/// What is known of the likes of a series; handed over with each call, so that a million series need not hold it.
#[derive(Clone, Copy, Debug)]
pub struct Peers<'a> {
    pub prior: Prior,
    pub seasons: &'a Seasons,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_is_sound() {
        let pooled = Pooled::shipped();
        assert!(pooled.priors.name.starts_with("priors/") && pooled.seasons.name.starts_with("seasons/"));
    }
}
