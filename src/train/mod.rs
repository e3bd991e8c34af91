//! Makes what the detector is trained and tried on, labelled trails, and judges detectors on them. Fitting comes here
//! too.

mod catalogue;
mod draw;
pub mod evaluate;
pub mod fit;
pub mod labelled;
pub mod simulate;
pub mod trail;
pub mod worlds;
