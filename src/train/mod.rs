//! Makes what the detector is trained and tried on, fits it, and judges detectors. `simulate` writes trails as CloudTrail
//! delivers them; `worlds` makes accounts of many more kinds, in memory and by the seed. Both give
//! [`labelled::Labelled`], draw their numbers from `draw` and take their APIs from `catalogue`.

mod catalogue;
mod draw;
pub mod evaluate;
pub mod fit;
pub mod labelled;
pub mod simulate;
pub mod trail;
pub mod worlds;
