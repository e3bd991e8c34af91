//! Integration tests, one binary: each module holds the promises of one part.

// Tests run in the package's folder, and find their files from there: a path fixed when they are built would be wrong
// where several checkouts share a target directory.

mod cli;
mod config;
mod detector;
mod evaluate;
mod event;
mod explain;
mod golden;
mod judge;
mod mute;
mod promise;
mod report;
mod score;
mod simulate;
mod stdin;
mod support;
mod tidy;
mod watch;
mod worlds;
