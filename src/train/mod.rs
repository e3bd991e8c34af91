//! Makes what the detector is trained and tried on, labelled trails, and judges detectors on them. Fitting comes here
//! too.

pub mod evaluate;
pub mod labelled;
pub mod simulate;
pub mod trail;
