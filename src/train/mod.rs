//! Makes what the detector is trained and tried on: labelled trails. Fitting comes here too.

pub mod labelled;
pub mod simulate;
pub mod trail;
