//! The shape of the code itself: who may import whom (the table in ARCHITECTURE.md), what the core must not touch, and
//! a few habits. Reads files and needs nothing of the crate.
//!
//! Comment lines are not looked at; everything else is taken literally, so that a spelling this test does not
//! understand fails instead of passing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that are pure: bytes and numbers in, numbers out.
const CORE: [&str; 7] = ["event", "window", "baseline", "judge", "episode", "insight", "detector"];

/// What the core must not name: clocks, files, the network, the environment, threads, chance, output.
const NOT_IN_CORE: [&str; 16] = [
    "std::time",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::{",
    "rand",
    "rand_pcg",
    "tokio",
    "println!",
    "eprintln!",
];

/// The exception: one call of the detector shares its series out among threads that end with it.
const THREADS_IN_CORE: (&str, &str) = ("detector", "std::thread::scope(");

/// Crates, and the only modules that may use them.
const CRATE_USERS: [(&str, &[&str]); 35] = [
    ("polars", &["store"]),
    ("csv", &["score"]),
    ("plotters", &["report"]),
    ("resvg", &["report"]),
    ("notosans", &["report"]),
    ("libm", &["train"]),
    ("rand_pcg", &["train"]),
    ("linfa", &["train"]),
    ("linfa_clustering", &["train"]),
    ("ndarray", &["train"]),
    ("statrs", &["baseline"]),
    ("clap", &["cli"]),
    ("console", &["cli"]),
    ("toml", &["config"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli", "mirror", "run", "sidecar", "sink", "http"]),
    ("tokio", &["sidecar", "sink", "source", "http"]),
    ("axum", &["source", "http"]),
    ("tracing", &["mirror", "sidecar", "sink", "source", "http", "cli"]),
    ("tracing_subscriber", &["cli"]),
    ("hyper_rustls", &["sink"]),
    ("hyper_util", &["http", "sink"]),
    ("ring", &["sink"]),
    ("aws_sigv4", &["sink"]),
    ("lettre", &["sink"]),
    ("axum_server", &["http"]),
    ("schemars", &["cli", "config", "secret", "sink", "source"]),
    ("sd_notify", &["status"]),
    ("subtle", &["source"]),
    ("aws_config", &["sink", "source"]),
    ("aws_credential_types", &["sink"]),
    ("aws_sdk_s3", &["mirror", "source"]),
    ("aws_sdk_sqs", &["source"]),
    ("walkdir", &["source"]),
    ("glob", &["insight", "source"]),
];

/// The one file that may hold `unsafe`.
const UNSAFE_FILE: &str = "src/event/scan.rs";

const FILE_LINES_MAX: usize = 800;

struct Source {
    /// From the root of the package, with `/`.
    path: String,
    /// The first folder or file below `src`: `event`, `run`; `lib` and `main` are no modules.
    module: String,
    text: String,
}

impl Source {
    /// `src/X.rs` or `src/X/mod.rs`, where `super` is the crate.
    fn is_top(&self) -> bool {
        self.path == format!("src/{}.rs", self.module) || self.path == format!("src/{}/mod.rs", self.module)
    }

    /// Lines that are not all comment, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(n, l)| (n + 1, l))
    }
}

fn root() -> &'static Path {
    Path::new(".")
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join("src"), &mut paths);
    paths.sort();
    let sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let path_text = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            let below = path_text.trim_start_matches("src/");
            let module = below.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
            Source { module, text: fs::read_to_string(path).expect("UTF-8"), path: path_text }
        })
        .collect();
    assert!(sources.len() > 10, "the sources were found");
    sources
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands in `line` with no word character before it, nor after it where it ends with one itself.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = line[..at].chars().next_back().is_some_and(is_word);
        let after = line[at + word.len()..].chars().next().is_some_and(is_word);
        !before && (!after || !word.ends_with(is_word))
    })
}

/// The table under "May import": module, then the modules it may import; `all` for every other.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| *line != "| module | may import |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let names: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert!(names.len() == rows.len() && names.len() > 5, "the import table was found and names each module once");
    let imports = |cell: &str| -> BTreeSet<String> {
        match cell {
            "nothing" => BTreeSet::new(),
            "all" => names.clone(),
            list => list.split(", ").map(|name| name.trim_matches('`').to_owned()).collect(),
        }
    };
    let table: BTreeMap<_, _> = rows.iter().map(|row| (row[0].trim_matches('`').to_owned(), imports(row[1]))).collect();
    for (module, imports) in &table {
        assert!(imports.is_subset(&names), "ARCHITECTURE.md: {module} may import a module that is not in the table");
    }
    table
}

/// Every module of the crate that code of `source` names, or what is wrong with how it does.
fn imports(source: &Source, modules: &BTreeSet<String>) -> Vec<Result<String, String>> {
    let mut found = Vec::new();
    for (number, line) in source.code() {
        let place = format!("{}:{number}: {}", source.path, line.trim());
        for at in words(line, "crate") {
            let rest = &line[at + "crate".len()..];
            let Some(path) = rest.strip_prefix("::") else {
                let visibility = line[..at].ends_with("pub(") && rest.starts_with(')');
                if !visibility && source.module != "lib" && source.module != "main" {
                    found.push(Err(format!("{place}\n    `crate` without a module")));
                }
                continue;
            };
            let name: String = path.chars().take_while(|c| is_word(*c)).collect();
            match modules.contains(&name) {
                true => found.push(Ok(name)),
                false => found.push(Err(format!("{place}\n    names no module right after `crate::`"))),
            }
        }
        if line.contains("super::super") {
            found.push(Err(format!("{place}\n    `super::super`: name the module instead")));
        }
        if source.is_top() {
            if line.trim_start_matches("pub ").starts_with("use super") {
                found.push(Err(format!("{place}\n    `super` is the crate here: say `crate::` and the module")));
            }
            for at in words(line, "super::") {
                let name: String = line[at + "super::".len()..].chars().take_while(|c| is_word(*c)).collect();
                if modules.contains(&name) {
                    found.push(Err(format!("{place}\n    says `super::` for `crate::`")));
                }
            }
        }
    }
    found
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn modules_import_what_the_table_allows() {
    let table = table();
    let modules: BTreeSet<String> = table.keys().cloned().collect();
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources().iter().filter(|source| source.module != "lib" && source.module != "main") {
        seen.insert(source.module.clone());
        let Some(allowed) = table.get(&source.module) else {
            problems.push(format!("{}: its module is not in the table of ARCHITECTURE.md", source.path));
            continue;
        };
        for import in imports(source, &modules) {
            match import {
                Ok(name) if name == source.module || allowed.contains(&name) => {}
                Ok(name) => problems.push(format!("{}: {} may not import {name}", source.path, source.module)),
                Err(problem) => problems.push(problem),
            }
        }
    }
    problems.extend(modules.difference(&seen).map(|module| format!("ARCHITECTURE.md: there is no module {module}")));
    report(problems);
}

#[test]
fn the_table_has_no_circle() {
    let mut table = table();
    while !table.is_empty() {
        let done: BTreeSet<String> = table
            .iter()
            .filter(|(module, imports)| imports.iter().all(|import| import == *module || !table.contains_key(import)))
            .map(|(module, _)| module.clone())
            .collect();
        assert!(!done.is_empty(), "these modules import each other: {:?}", table.keys());
        table.retain(|module, _| !done.contains(module));
    }
}

#[test]
fn the_core_is_pure() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| CORE.contains(&source.module.as_str())) {
        for (number, line) in source.code() {
            let (module, threads) = THREADS_IN_CORE;
            let line = if source.module == module { line.replace(threads, "") } else { line.to_owned() };
            for name in NOT_IN_CORE.iter().filter(|name| words(&line, name).next().is_some()) {
                problems.push(format!("{}:{number}: the core must not know {name}", source.path));
            }
        }
    }
    report(problems);
}

#[test]
fn crates_stay_where_they_belong() {
    let mut problems = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (name, users) in CRATE_USERS {
                let path = format!("{name}::");
                let used = [&path, &format!("use {name}")].iter().any(|text| words(line, text).next().is_some());
                if used && !users.contains(&source.module.as_str()) {
                    problems.push(format!("{}:{number}: {name} belongs to {users:?}", source.path));
                }
            }
            // The keyword, not a word of a content security policy.
            let keyword = words(line, "unsafe").any(|at| !line[at + "unsafe".len()..].starts_with('-'));
            if source.path != UNSAFE_FILE && keyword {
                problems.push(format!("{}:{number}: unsafe code belongs to {UNSAFE_FILE}", source.path));
            }
        }
    }
    report(problems);
}

#[test]
fn files_say_what_they_hold_and_stay_short() {
    let mut problems = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            problems.push(format!("{}: does not begin with what it holds (`//! `)", source.path));
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines; at most {FILE_LINES_MAX}", source.path));
        }
    }
    report(problems);
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() {
    // Written in two parts, so that this file does not find itself.
    let unfinished =
        [["TO", "DO"], ["FIX", "ME"], ["to", "do!("], ["un", "implemented!("], ["db", "g!("]].map(|p| p.concat());
    let machine = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"]].map(|parts| parts.concat());
    let mut files: Vec<(String, String)> = sources().into_iter().map(|source| (source.path, source.text)).collect();
    for folder in ["", "docs", "tests", "tests/it", "benches", "models", "notebooks-data", ".ci"] {
        for entry in fs::read_dir(root().join(folder)).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_file()
                && path.file_name().is_none_or(|name| name != "Cargo.lock" && name != ".git")
                && let Ok(text) = fs::read_to_string(&path)
            {
                files.push((path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned(), text));
            }
        }
    }
    let mut problems = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            for what in unfinished.iter().filter(|what| words(line, what).next().is_some()) {
                problems.push(format!("{path}:{}: {what}", number + 1));
            }
            if path.ends_with(".md") && line.contains("{{") {
                problems.push(format!("{path}:{}: a figure is still to be filled in", number + 1));
            }
            for what in machine.iter().filter(|what| line.contains(*what)) {
                problems.push(format!("{path}:{}: names a place on one machine, {what}", number + 1));
            }
        }
    }
    report(problems);
}
