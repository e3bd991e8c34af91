//! `highwater evaluate`: how well detectors do on accounts whose truth is known, as a table, JSON, and a picture.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;

use super::{Ending, default_threads};
use crate::config::parse_budget;
use crate::report::{CURVES_MAX, Curve, curves_svg, png};
use crate::train::evaluate::{self, Account, Contestant, SETS, Scenario, Score, pool, set};

#[derive(clap::Args)]
#[command(after_help = sets_help())]
pub(super) struct Arguments {
    /// Kinds of account, with commas; or `all`.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "simulate")]
    sets: Vec<String>,
    /// Accounts of each set: `1..10` is ten, `7` is one.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds, default_value = "1..10")]
    seeds: Seeds,
    /// Labelled trails, as `highwater simulate` writes them, instead of sets; may be given several times.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sets", "seeds"])]
    trail: Vec<PathBuf>,
    /// Also judges three plain detectors at their customary settings.
    #[arg(long)]
    baselines: bool,
    /// Also judges Highwater with budgets of false alarms, such as 0.1/week,1/week,10/week.
    #[arg(long, value_parser = parse_budget, value_name = "BUDGETS", value_delimiter = ',')]
    budgets: Vec<f64>,
    /// Judges every detector at many thresholds.
    #[arg(long)]
    sweep: bool,
    /// Also judges the model with groups of its features left out, each at the best of several thresholds.
    #[arg(long)]
    ablate: bool,
    /// Draws precision against recall; implies --sweep.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Prints all figures as JSON.
    #[arg(long)]
    json: bool,
    /// Directory with models made by `highwater train`, to judge instead of the ones that ship.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[arg(long, default_value_t = default_threads(), value_name = "N")]
    threads: usize,
}

fn sets_help() -> String {
    let lines: Vec<String> = SETS.iter().map(|set| format!("  {:<18}{}", set.name, set.about)).collect();
    format!("Sets:\n{}", lines.join("\n"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seeds {
    first: u64,
    last: u64,
}

/// More accounts than anyone waits for.
const SEEDS_MAX: u64 = 10_000;

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last && last - first < SEEDS_MAX => Ok(Seeds { first, last }),
        _ => Err(format!("{text}: neither a seed like 7 nor a range like 1..10 (at most {SEEDS_MAX} seeds)")),
    }
}

/// A set as printed: its accounts pooled, one score for each contestant.
#[derive(Serialize)]
struct Judged {
    set: String,
    detectors: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    threshold: f64,
    default: bool,
    #[serde(flatten)]
    score: Score,
    accounts_one_by_one: Vec<AccountRow>,
}

#[derive(Serialize)]
struct AccountRow {
    name: String,
    f1: f64,
    found: usize,
    truths: usize,
    false_alarms: usize,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let scenarios = scenarios(&arguments)?;
    let model = super::settings::model(arguments.model.as_deref())?;
    let sweep = arguments.sweep || arguments.png.is_some();
    let mut contestants = evaluate::highwater(HIGHWATER, &model, sweep);
    if arguments.baselines {
        contestants.extend(evaluate::baselines(sweep));
    }
    contestants.extend(arguments.budgets.iter().map(|per_week| evaluate::budget(&model, *per_week)));
    let whole = contestants.len();
    if arguments.ablate {
        contestants.extend(evaluate::ablated("(nothing)", &model));
        for (group, model) in evaluate::ablations(&model) {
            contestants.extend(evaluate::ablated(&group, &model));
        }
    }
    let mut accounts: Vec<Vec<Account>> = Vec::new();
    for scenario in &scenarios {
        accounts.push(evaluate::evaluate(scenario, &contestants, arguments.threads)?);
    }
    let judged: Vec<Judged> =
        scenarios.iter().zip(&accounts).map(|(of, accounts)| judged(&of.name, accounts, &contestants)).collect();
    if let Some(path) = &arguments.png {
        let all: Vec<&Account> = accounts.iter().flatten().collect();
        let svg = picture(&judged, &all, &contestants[..whole - arguments.budgets.len()])?;
        fs::write(path, png(&svg)?).with_context(|| path.display().to_string())?;
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &judged)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", words(&judged, &contestants, whole, sweep))?;
    }
    out.flush()?;
    Ok(Ending::Done)
}

const HIGHWATER: &str = "Highwater";

fn scenarios(arguments: &Arguments) -> anyhow::Result<Vec<Scenario>> {
    if !arguments.trail.is_empty() {
        return Ok(vec![Scenario::of_trails(arguments.trail.clone())]);
    }
    let seeds = || arguments.seeds.first..=arguments.seeds.last;
    if arguments.sets.iter().any(|name| name == "all") {
        return Ok(SETS.iter().map(|set| Scenario::new(set, seeds())).collect());
    }
    let mut scenarios = Vec::new();
    for name in &arguments.sets {
        let Some(set) = set(name) else {
            let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
            bail!("--sets: there is no set {name}; there are {} and all", names.join(", "));
        };
        scenarios.push(Scenario::new(set, seeds()));
    }
    Ok(scenarios)
}

fn judged(name: &str, accounts: &[Account], contestants: &[Contestant]) -> Judged {
    let row = |(place, contestant): (usize, &Contestant)| {
        let scores: Vec<Score> = accounts.iter().map(|account| account.scores[place].clone()).collect();
        let one = |(account, score): (&Account, &Score)| AccountRow {
            name: account.name.clone(),
            f1: score.f1,
            found: score.found,
            truths: score.truths,
            false_alarms: score.false_alarms,
        };
        Row {
            name: contestant.name.clone(),
            threshold: contestant.line,
            default: contestant.is_default,
            score: pool(&scores),
            accounts_one_by_one: accounts.iter().zip(&scores).map(one).collect(),
        }
    };
    Judged { set: name.to_owned(), detectors: contestants.iter().enumerate().map(row).collect() }
}

fn words(judged: &[Judged], contestants: &[Contestant], whole: usize, sweep: bool) -> String {
    let mut text = String::new();
    for set in judged {
        let score = &set.detectors[0].score;
        text += &format!(
            "{}: {} accounts, {:.0} account-weeks, {} truths\n",
            set.set, score.accounts, score.account_weeks, score.truths
        );
        text += &head("detector", "at");
        for (row, contestant) in set.detectors[..whole].iter().zip(contestants).filter(|(row, _)| row.default || sweep)
        {
            let mark = if row.default && sweep { "*" } else { "" };
            text += &line(&row.name, &format!("{:.2}{mark}", row.threshold), &row.score, contestant.names_callers());
        }
        for row in set.detectors[..whole].iter().filter(|row| row.default && row.name == HIGHWATER) {
            let kinds: Vec<String> = row
                .score
                .recall_by_kind
                .iter()
                .map(|(kind, (found, all))| format!("{} {found}/{all}", kind.replace('_', " ")))
                .collect();
            if !kinds.is_empty() {
                text += &format!("  found by kind: {}\n", kinds.join(", "));
            }
        }
        if whole < set.detectors.len() {
            text += &ablation_words(&set.detectors[whole..]);
        }
        text.push('\n');
    }
    if sweep {
        text += "* the setting that the detector comes with\n";
    }
    text
}

/// Each model with a group left out, at the line where its F1 is best.
fn ablation_words(rows: &[Row]) -> String {
    let mut text = head("left out", "best at");
    for rows in rows.chunk_by(|a, b| a.name == b.name) {
        if let Some(best) = rows.iter().max_by(|a, b| a.score.f1.total_cmp(&b.score.f1)) {
            text += &line(&best.name, &format!("{:.2}", best.threshold), &best.score, true);
        }
    }
    text
}

fn head(name: &str, at: &str) -> String {
    format!(
        "  {name:<20}{at:>8}{:>8}{:>11}{:>8}{:>16}{:>11}{:>14}{:>13}\n",
        "F1", "precision", "recall", "false/acc-week", "fragments", "known after", "right caller"
    )
}

fn line(name: &str, at: &str, score: &Score, names_callers: bool) -> String {
    // Of nothing to find there is no share.
    let share = |value: f64| if score.truths == 0 { "-".to_owned() } else { format!("{value:.3}") };
    let delay = score.known_delay_minutes.map_or("-".to_owned(), |minutes| format!("{minutes:.0} min"));
    let caller = score.top_arn_right.filter(|_| names_callers).map_or("-".to_owned(), |share| format!("{share:.2}"));
    format!(
        "  {name:<20}{at:>8}{:>8}{:>11}{:>8}{:>16.2}{:>11}{delay:>14}{caller:>13}\n",
        share(score.f1),
        share(score.precision),
        share(score.recall),
        score.false_alarms_per_account_week,
        score.fragments,
    )
}

/// One curve for each detector, over the accounts of all sets together.
fn picture(judged: &[Judged], accounts: &[&Account], contestants: &[Contestant]) -> anyhow::Result<String> {
    let numbered: Vec<(usize, &Contestant)> = contestants.iter().enumerate().collect();
    let mut truths = 0;
    let curves: Vec<Curve> = numbered
        .chunk_by(|a, b| a.1.name == b.1.name)
        .take(CURVES_MAX)
        .map(|of_one| {
            let scores = of_one.iter().map(|(place, _)| {
                let scores: Vec<Score> = accounts.iter().map(|account| account.scores[*place].clone()).collect();
                pool(&scores)
            });
            let scores: Vec<Score> = scores.collect();
            truths = scores[0].truths;
            Curve {
                name: of_one[0].1.name.clone(),
                points: scores.iter().map(|score| (score.recall, score.precision)).collect(),
                default: of_one.iter().position(|(_, contestant)| contestant.is_default),
            }
        })
        .collect();
    let sets: Vec<&str> = judged.iter().map(|judged| judged.set.as_str()).collect();
    let subtitle = format!(
        "{} accounts ({}), {} truths; each line runs over the detector's threshold",
        accounts.len(),
        sets.join(", "),
        truths
    );
    Ok(curves_svg("What is found, and how much of it is true", &subtitle, &curves)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!(parse_seeds("7"), Ok(Seeds { first: 7, last: 7 }));
        assert_eq!(parse_seeds("1..10"), Ok(Seeds { first: 1, last: 10 }));
        for wrong in ["", "..", "10..1", "1..", "a", "1-3", "0..99999999"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }
}
