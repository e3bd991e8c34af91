//! `highwater tally`: calls per account, Region, source, name and minute, and nothing else.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ending, default_threads};
use crate::event::{Limits, ObjectName, Reader};
use crate::source::{self, Object};
use crate::window::Counts;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Files, directories, patterns, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Prints how many groups there are, not the groups.
    #[arg(long)]
    count_only: bool,
    #[arg(long, default_value_t = default_threads(), value_name = "N")]
    threads: usize,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Ending> {
    let found = source::find(&arguments.paths)?;
    let (counts, malformed) = count(&found.objects, arguments.threads.max(1));
    let apis = counts.finish();
    let mut out = BufWriter::new(io::stdout());
    if arguments.count_only {
        let groups: usize = apis.iter().map(|(_, minutes)| minutes.len()).sum();
        let calls: u64 = apis.iter().flat_map(|(_, minutes)| minutes).map(|(_, n)| n).sum();
        writeln!(out, "{calls} calls in {groups} groups of {} APIs", apis.len())?;
    } else {
        writeln!(out, "account,region,event_source,event_name,minute_utc,count")?;
        for (api, minutes) in &apis {
            let names = [&api.account_id, &api.region, &api.event_source, &api.event_name].map(|name| quoted(name));
            for (minute, count) in minutes {
                writeln!(out, "{},{minute},{count}", names.join(","))?;
            }
        }
    }
    out.flush()?;
    if malformed > 0 {
        eprintln!("highwater: {malformed} malformed records; highwater scan -o DIR lists them");
        return Ok(Ending::Partial);
    }
    Ok(Ending::Done)
}

fn count(objects: &[Object], threads: usize) -> (Counts, u64) {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut counts, mut reader, mut buffer) = (Counts::default(), Reader::new(), Vec::new());
        let mut malformed = 0;
        while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = object.read(&mut buffer) {
                eprintln!("highwater: {}: {error}", object.name);
                malformed += 1;
                continue;
            }
            let name = ObjectName::parse(&object.name);
            let outcome = reader.read(&name, &buffer, &Limits::default(), &mut |event| counts.add(event));
            malformed += outcome.malformed;
        }
        (counts, malformed)
    };
    if threads == 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().fold((Counts::default(), 0), |(mut all, malformed), handle| {
            let (counts, more) = handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.merge(counts);
            (all, malformed + more)
        })
    })
}

/// A CSV field, quoted where it must be.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
