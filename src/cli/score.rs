//! `highwater score`: any count series in, expectations, scores and flags out.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::{Ending, default_threads};
use crate::score::{Format, Missing, Options, Scored, THRESHOLD, Table};
use crate::score::{read_csv, score, write_incidents, write_rows};
use crate::store::table;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    highwater score requests.csv > scored.csv\n  \
    highwater score series/*.csv -o scored --incidents incidents.csv\n  \
    highwater score rates.csv --missing zero --format json")]
pub(super) struct Arguments {
    /// CSV or Parquet files, or `-` for CSV on standard input. Columns: a time, `value` or `count`, and any others,
    /// which tell series apart.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A file (.csv, .jsonl, .parquet), or a directory for one file per input; needed with several inputs.
    #[arg(short, long, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// Also writes runs of flagged rows: CSV if the name ends so, else JSON lines.
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,
    /// Score from which a row is flagged: ln of the days between rows as rare.
    #[arg(long, default_value_t = THRESHOLD, value_name = "SCORE", value_parser = parse_threshold)]
    threshold: f64,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = FormatArgument::Csv)]
    format: FormatArgument,
    /// What rows that are not there mean: nothing is known of them, or nothing happened.
    #[arg(long, value_enum, default_value_t = MissingArgument::Unknown)]
    missing: MissingArgument,
    #[arg(long, default_value_t = default_threads(), value_name = "N")]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArgument {
    Csv,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MissingArgument {
    Unknown,
    Zero,
}

fn parse_threshold(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(threshold) if threshold > 0.0 && f64::is_finite(threshold) => Ok(threshold),
        _ => Err("not a number above 0".to_owned()),
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let format = match arguments.format {
        FormatArgument::Csv => Format::Csv,
        FormatArgument::Json => Format::Json,
    };
    let missing = match arguments.missing {
        MissingArgument::Unknown => Missing::Unknown,
        MissingArgument::Zero => Missing::Zero,
    };
    let options = Options { threshold: arguments.threshold, missing, threads: arguments.threads };
    let outputs = outputs(&arguments.files, arguments.output.as_deref(), format)?;
    let mut told = match &arguments.incidents {
        Some(path) => Some(BufWriter::new(File::create(path).with_context(|| path.display().to_string())?)),
        None => None,
    };
    let mut failed = 0;
    for (file, output) in arguments.files.iter().zip(outputs) {
        let (table, scored) = match read_and_score(file, &options) {
            Ok(scored) => scored,
            Err(error) if arguments.files.len() == 1 => return Err(error),
            Err(error) => {
                eprintln!("highwater: {}", super::told(&error));
                failed += 1;
                continue;
            }
        };
        for note in &scored.notes {
            eprintln!("highwater: {}: {note}", file.display());
        }
        write(&table, &scored, format, output.as_deref())?;
        if let (Some(out), Some(path)) = (&mut told, &arguments.incidents) {
            let format = if has_extension(path, "csv") { Format::Csv } else { Format::Json };
            write_incidents(&table, &scored.incidents, format, &mut *out).context("writing incidents")?;
        }
    }
    match failed {
        0 => Ok(Ending::Done),
        _ if failed == arguments.files.len() => bail!("none of the {failed} files could be scored"),
        _ => Ok(Ending::Partial),
    }
}

/// Where each input's rows go; none: standard output.
fn outputs(files: &[PathBuf], output: Option<&Path>, format: Format) -> anyhow::Result<Vec<Option<PathBuf>>> {
    let Some(output) = output else {
        if files.len() > 1 {
            bail!("several inputs: name a directory for their outputs with -o");
        }
        return Ok(vec![None]);
    };
    let is_file = ["csv", "json", "jsonl", "parquet"].iter().any(|extension| has_extension(output, extension));
    if files.len() == 1 && is_file && !output.is_dir() {
        return Ok(vec![Some(output.to_owned())]);
    }
    fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let extension = if format == Format::Csv { "csv" } else { "jsonl" };
    let mut paths: Vec<Option<PathBuf>> = Vec::new();
    for file in files {
        let name = file.file_stem().filter(|_| file.as_os_str() != "-").unwrap_or("stdin".as_ref());
        let path = output.join(name).with_extension(extension);
        // `with_extension` would cut a name such as `a.b.csv` shorter.
        let path = if name.to_string_lossy().contains('.') {
            output.join(format!("{}.{extension}", name.to_string_lossy()))
        } else {
            path
        };
        if paths.iter().flatten().any(|other| *other == path) {
            bail!("two inputs would both write {}; score them one by one", path.display());
        }
        if file.canonicalize().ok().is_some_and(|input| path.canonicalize().ok() == Some(input)) {
            bail!("{} would overwrite its input; name another directory", path.display());
        }
        paths.push(Some(path));
    }
    Ok(paths)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn read_and_score(file: &Path, options: &Options) -> anyhow::Result<(Table, Scored)> {
    let name = file.display().to_string();
    let table = if file.as_os_str() == "-" {
        read_csv("standard input", io::stdin().lock())?
    } else if has_extension(file, "parquet") {
        table::read(file)?
    } else {
        let input = File::open(file).with_context(|| name.clone())?;
        read_csv(&name, BufReader::with_capacity(1 << 18, input))?
    };
    let scored = score(&table, options).context(name)?;
    Ok((table, scored))
}

fn write(table: &Table, scored: &Scored, format: Format, output: Option<&Path>) -> anyhow::Result<()> {
    match output {
        Some(path) if has_extension(path, "parquet") => table::write(path, table, scored)?,
        Some(path) => {
            let out = File::create(path).with_context(|| path.display().to_string())?;
            write_rows(table, scored, format, BufWriter::with_capacity(1 << 18, out))
                .with_context(|| path.display().to_string())?;
        }
        None => {
            let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
            write_rows(table, scored, format, &mut out)?;
            out.flush()?;
        }
    }
    Ok(())
}
