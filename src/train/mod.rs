//! Makes what the detector is trained and tried on. `simulate` writes trails as CloudTrail delivers them; `worlds` makes
//! accounts of many more kinds, in memory and by the seed, as [`labelled::Labelled`]. Both draw their numbers from
//! `draw` and their APIs from `catalogue`. Fitting comes here too.

mod catalogue;
mod draw;
pub mod labelled;
pub mod simulate;
pub mod worlds;
