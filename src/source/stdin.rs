//! JSON lines from standard input, in parts of whole lines. What was read and not yet safe is lost with a kill: nobody
//! can be asked to say it again. Knows no record.

use std::io::{ErrorKind, Read};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Mutex, mpsc};
use tracing::warn;

use super::live::{Feed, Line, now_s};

/// A part is handed over when it is as large, or as old.
const PART_BYTES: usize = 1 << 20;
const PART_AGE: Duration = Duration::from_millis(200);

/// A line may be a whole document. A longer one is handed over as it is, for the reader to complain of.
const LINE_BYTES_MAX: usize = 64 << 20;

/// What one read brings at most, and how many of those wait.
const CHUNK_BYTES: usize = 1 << 16;
const CHUNKS: usize = 16;

/// What was read and not handed over yet. A new configuration goes on with it, in the middle of a line.
struct Input {
    chunks: mpsc::Receiver<Vec<u8>>,
    part: Vec<u8>,
    /// Where the last line in it ends.
    whole: usize,
}

impl Input {
    /// A read of standard input cannot be called off, so a thread of its own waits in it; nobody waits for the thread.
    fn start() -> Input {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        std::thread::spawn(move || read(std::io::stdin().lock(), &sender));
        Input { chunks, part: Vec::new(), whole: 0 }
    }

    fn add(&mut self, chunk: &[u8]) {
        if let Some(last) = chunk.iter().rposition(|byte| *byte == b'\n') {
            self.whole = self.part.len() + last + 1;
        }
        self.part.extend_from_slice(chunk);
    }

    fn is_large(&self) -> bool {
        self.whole >= PART_BYTES || self.part.len() >= LINE_BYTES_MAX
    }

    /// Whole lines; or all of it.
    fn take(&mut self, all: bool) -> Option<Vec<u8>> {
        let end = if all { self.part.len() } else { self.whole };
        self.whole = 0;
        let rest = self.part.split_off(end);
        Some(std::mem::replace(&mut self.part, rest)).filter(|bytes| !bytes.is_empty())
    }
}

fn read(mut input: impl Read, chunks: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if chunks.blocking_send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                warn!(%error, "standard input cannot be read any more: this is taken for its end");
                return;
            }
        }
    }
}

/// Runs until the input ends or it is told to stop.
pub async fn run(line: Line) {
    static INPUT: OnceLock<Mutex<Input>> = OnceLock::new();
    hand_over(&mut *INPUT.get_or_init(|| Mutex::new(Input::start())).lock().await, line).await;
}

async fn hand_over(input: &mut Input, line: Line) {
    let (mut number, mut ended, mut stopped) = (0, false, false);
    while !ended && !stopped {
        let mut age = Box::pin(tokio::time::sleep(PART_AGE));
        while !input.is_large() {
            tokio::select! {
                () = line.stop.cancelled() => break,
                () = &mut age => break,
                chunk = input.chunks.recv() => match chunk {
                    Some(chunk) => input.add(&chunk),
                    None => {
                        ended = true;
                        break;
                    }
                },
            }
        }
        stopped = line.stop.is_cancelled();
        if stopped {
            // What has been read by now is nowhere else; whoever writes on does not keep us.
            for _ in 0..=CHUNKS {
                match input.chunks.try_recv() {
                    Ok(chunk) => input.add(&chunk),
                    Err(error) => {
                        ended |= error == TryRecvError::Disconnected;
                        break;
                    }
                }
            }
        }
        let all = ended || (input.whole == 0 && input.part.len() >= LINE_BYTES_MAX);
        if let Some(bytes) = input.take(all) {
            number += 1;
            if !line.say(Feed::Delivery { ticket: number, name: format!("stdin, part {number}"), bytes }).await {
                return;
            }
        }
        if !line.say(Feed::Drained { second: now_s() }).await {
            return;
        }
    }
    if ended {
        line.say(Feed::Ended).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// What is handed over of these chunks, which come as fast as they can, or slower than a part may wait.
    fn parts(chunks: &[&[u8]], slowly: bool) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (sender, receiver) = mpsc::channel(CHUNKS);
            let (feeds, mut inbox) = mpsc::channel(8);
            let (_safe, safe) = mpsc::unbounded_channel();
            let line = Line { source: 0, feeds, safe, stop: CancellationToken::new() };
            let mut input = Input { chunks: receiver, part: Vec::new(), whole: 0 };
            let sending = async move {
                for chunk in chunks {
                    sender.send(chunk.to_vec()).await.expect("taken");
                    if slowly {
                        tokio::time::sleep(2 * PART_AGE).await;
                    }
                }
            };
            let receiving = async {
                let mut parts = Vec::new();
                while let Some((_, feed)) = inbox.recv().await {
                    match feed {
                        Feed::Delivery { bytes, .. } => parts.push(bytes),
                        Feed::Ended => break,
                        Feed::Drained { .. } | Feed::Parked { .. } => {}
                    }
                }
                parts
            };
            tokio::join!(sending, hand_over(&mut input, line), receiving).2
        })
    }

    #[test]
    fn parts_end_where_lines_end_and_nothing_is_lost() {
        assert_eq!(parts(&[b"1\n2", b"2\n3"], true), [&b"1\n"[..], b"22\n", b"3"]);
        assert_eq!(parts(&[b"1\n2", b"2\n3"], false), [b"1\n22\n3"]);
        assert_eq!(parts(&[], false), [[0u8; 0]; 0]);
    }

    #[test]
    fn what_was_read_when_it_is_told_to_stop_is_handed_over_and_half_a_line_kept() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (sender, chunks) = mpsc::channel(CHUNKS);
            let mut input = Input { chunks, part: Vec::new(), whole: 0 };
            // No room but for the first part: it waits to hand over the second when it is told to stop.
            let (feeds, mut inbox) = mpsc::channel(1);
            let (_safe, safe) = mpsc::unbounded_channel();
            let stop = CancellationToken::new();
            let line = Line { source: 0, feeds, safe, stop: stop.clone() };
            let mut large = vec![b'x'; PART_BYTES];
            large.push(b'\n');
            let telling = async {
                for chunk in [&large[..], b"1\n", b"2\n", b"ha"] {
                    sender.send(chunk.to_vec()).await.expect("taken");
                    tokio::time::sleep(PART_AGE / 4).await;
                }
                stop.cancel();
                let mut bytes = Vec::new();
                while let Some((_, feed)) = inbox.recv().await {
                    if let Feed::Delivery { bytes: part, .. } = feed {
                        bytes.extend(part);
                    }
                }
                bytes
            };
            let (bytes, ()) = tokio::join!(telling, hand_over(&mut input, line));
            assert_eq!(bytes[large.len()..], *b"1\n2\n");
            assert_eq!(input.part, b"ha");
        });
    }

    #[test]
    fn a_line_of_megabytes_that_comes_slowly_stays_whole() {
        let piece = vec![b'x'; PART_BYTES];
        let whole = parts(&[&piece, &piece, &piece, b"\n1\n"], true);
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [3 * PART_BYTES + 3]);
        let endless = vec![b'x'; LINE_BYTES_MAX / 4];
        let parts = parts(&[&endless[..]; 5], false);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, LINE_BYTES_MAX / 4]);
    }
}
