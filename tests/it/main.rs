//! Integration tests, one binary: each module holds the promises of one part.

mod detector;
mod event;
mod golden;
mod judge;
mod promise;
mod simulate;
mod support;
