//! The command line: one file for each command, each turning flags into options and a few calls of the library. Decides
//! exit statuses; holds no logic that a user of the library would miss.

mod diff_config;
mod evaluate;
mod explain;
mod mute;
mod progress;
mod report;
mod scan;
mod score;
mod settings;
mod simulate;
mod tally;
mod time;
mod train;
mod tune;
mod validate;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Finds unusual API activity in AWS CloudTrail records.
#[derive(Parser)]
#[command(name = "highwater", version, propagate_version = true, after_help = EXIT_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_HELP: &str = "Exit status: 0 done, 1 error, 2 wrong usage, 3 insights found (with --fail-on-insight), \
                         4 done, but some input was bad and is listed.";

#[derive(Subcommand)]
enum Command {
    /// Scores a trail: insights as JSON lines, or a directory with records, rates, charts and a report.
    Scan(scan::Arguments),
    /// The sidecar: watches queues, directories and streams, and tells as it happens.
    Watch(Box<watch::Arguments>),
    /// Tells one incident of a result directory in words and numbers, and checks them.
    Explain(explain::Arguments),
    /// Renders the charts and the report of a result directory again.
    Report(report::Arguments),
    /// Scores any count series: CSV or Parquet in, expected values, scores and flags out.
    Score(score::Arguments),
    /// Writes a labelled trail to try things on.
    Simulate(simulate::Arguments),
    /// Finds the threshold that keeps to a number of alerts, and says what it costs.
    Tune(tune::Arguments),
    /// Compares what two settings files make of the same trail.
    DiffConfig(diff_config::Arguments),
    /// Keeps back insights that people do not want to hear of for a while; they are recorded all the same.
    Mute(mute::MuteArguments),
    /// Says that an incident is a run that is expected, so that the next ones are told to nobody.
    Feedback(mute::FeedbackArguments),
    /// Checks a configuration file and says what is wrong with it.
    Validate(validate::Arguments),
    /// Prints the JSON schema of the configuration file.
    Schema,
    /// Judges the detector, and plain ones beside it, on labelled accounts.
    Evaluate(evaluate::Arguments),
    /// Makes the models that ship with Highwater, or others from labelled trails of one's own.
    Train(train::Arguments),
    /// Counts calls per account, Region, source, name and minute, as CSV.
    Tally(tally::Arguments),
}

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    InsightsFound,
    Partial,
}

/// Runs the command named by the process's arguments.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Scan(arguments) => scan::run(arguments),
        Command::Watch(arguments) => watch::run(*arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Score(arguments) => score::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Tune(arguments) => tune::run(arguments),
        Command::DiffConfig(arguments) => diff_config::run(arguments),
        Command::Mute(arguments) => mute::run(arguments),
        Command::Feedback(arguments) => mute::feedback(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Schema => validate::print_schema(),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::Tally(arguments) => tally::run(arguments),
    };
    match result {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::InsightsFound) => ExitCode::from(3),
        Ok(Ending::Partial) => ExitCode::from(4),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("highwater: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes; one that has its cause in its own words already does not say it twice.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The reader of our output has seen enough, as `head` does: that is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Threads to use when none are asked for.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}
