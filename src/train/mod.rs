//! Makes what the detector is trained and tried on: labelled trails. Fitting comes here too.

mod catalogue;
mod draw;
pub mod labelled;
pub mod simulate;
pub mod worlds;
