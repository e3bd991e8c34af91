//! Integration tests, one binary: each module holds the promises of one part.

mod cli;
mod detector;
mod event;
mod golden;
mod judge;
mod promise;
mod report;
mod simulate;
mod support;
mod tidy;
