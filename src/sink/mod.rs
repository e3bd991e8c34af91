//! Where insights go. Every sink follows the same file, `insights.jsonl` of the state directory, from its own place in
//! it; so a dead sink keeps nobody waiting, and nothing is lost with a restart. Knows records as lines, no detection.

mod copy;
pub mod webhook;

pub use copy::Copy;
