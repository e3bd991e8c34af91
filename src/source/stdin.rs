//! JSON lines from standard input, in parts of whole lines. What was read and not yet safe is lost with a kill: nobody
//! can be asked to say it again. Knows no record.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::live::{Feed, Line, now_s};

/// A part is handed over when it is as large, or as old.
const PART_BYTES: usize = 1 << 20;
const PART_AGE: Duration = Duration::from_millis(200);

/// Runs until the input ends or it is told to stop.
pub async fn run(line: Line) {
    let mut input = BufReader::with_capacity(1 << 16, tokio::io::stdin());
    let (mut part, mut number, mut ended) = (Vec::new(), 0, false);
    while !ended {
        let mut age = Box::pin(tokio::time::sleep(PART_AGE));
        while part.len() < PART_BYTES {
            tokio::select! {
                () = line.stop.cancelled() => {
                    ended = true;
                    break;
                }
                () = &mut age => break,
                // What was read of a line stays in the part when the wait is over: the rest follows.
                read = input.read_until(b'\n', &mut part) => if !matches!(read, Ok(1..)) {
                    ended = true;
                    break;
                },
            }
        }
        let whole =
            if ended { part.len() } else { part.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        if whole > 0 {
            let rest = part.split_off(whole);
            let bytes = std::mem::replace(&mut part, rest);
            number += 1;
            if !line.say(Feed::Delivery { ticket: number, name: format!("stdin, part {number}"), bytes }).await {
                return;
            }
        }
        if !line.say(Feed::Drained { second: now_s() }).await {
            return;
        }
    }
    line.say(Feed::Ended).await;
}
