//! The way of log lines to standard error: a bounded queue, and a thread that writes.
//!
//! Whoever logs never waits for a reader that has stalled, and does not end because one has gone away: a line that finds
//! no room, or cannot be written, is lost and counted. (tracing-appender does nearly this; it prints to standard output,
//! and with that may wait or panic, when the queue is full at the end.)

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written. One is some 200 bytes, so this is little even for an agent.
const WAITING: usize = 512;
/// How long a process that ends waits for its last lines to be read.
const FAREWELL: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// What goes to the thread.
enum Message {
    Line(Vec<u8>),
    /// The last: what came before is written once the other end of this is gone.
    End(Sender<()>),
}

/// Where a subscriber writes its lines.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Says how many lines were lost, in a line of its own.
pub(super) type Obituary = fn(u64) -> String;

impl Lines {
    /// Lines that a thread writes to `out`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn to(out: impl Write + Send + 'static, obituary: Obituary) -> io::Result<Self> {
        let (queue, lines) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(&lines, out, &counter, obituary))?;
        Ok(Self { queue, lost })
    }

    /// Lines that were lost so far.
    pub(super) fn lost(&self) -> u64 {
        // A count and nothing else: no other memory depends on its order.
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all that was logged is written, or for half a second.
    pub(super) fn farewell(&self) {
        let (written, all) = channel();
        let until = Instant::now() + FAREWELL;
        let mut end = Message::End(written);
        // `send` would wait for as long as nobody reads.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(end) {
            if Instant::now() >= until {
                return;
            }
            end = back;
            thread::sleep(PAUSE);
        }
        // Nothing is ever sent: it ends when the thread drops the other end, or time is up.
        let _ = all.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A subscriber writes an event at once, with its line's end.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line that is lost is counted and is no error: whoever logs could do nothing about it.
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until nobody logs any more.
fn write(lines: &Receiver<Message>, mut out: impl Write, lost: &AtomicU64, obituary: Obituary) {
    let mut told = 0;
    for message in lines {
        let line = match message {
            Message::Line(line) => line,
            Message::End(written) => {
                drop(written);
                continue;
            }
        };
        let missing = lost.load(Ordering::Relaxed);
        let written = if missing > told {
            // Before the line that was written after them.
            out.write_all(obituary(missing - told).as_bytes()).and_then(|()| {
                told = missing;
                out.write_all(&line)
            })
        } else {
            out.write_all(&line)
        };
        if written.is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn obituary(count: u64) -> String {
        format!("{count} lost\n")
    }

    fn log(lines: &Lines, count: usize) {
        for number in 0..count {
            lines.make_writer().write_all(format!("{number}\n").as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_is_told_how_many() {
        let (out, mut reader) = UnixStream::pair().unwrap();
        // More than the socket and the queue hold.
        let mut long = vec![b'x'; 1 << 20];
        long.push(b'\n');
        let lines = Lines::to(out, obituary).unwrap();
        lines.make_writer().write_all(&long).unwrap();
        log(&lines, 2 * WAITING);
        assert!(lines.lost() >= WAITING as u64 - 1, "{}", lines.lost());
        let lost = lines.lost();
        // It does not wait for ever.
        lines.farewell();
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        while lines.queue.try_send(Message::Line(b"last\n".to_vec())).is_err() {
            thread::yield_now();
        }
        lines.farewell();
        drop(lines);
        let all = reading.join().unwrap();
        assert!(all.ends_with("last\n"));
        let told: Vec<&str> = all.lines().filter(|line| line.ends_with(" lost")).collect();
        assert_eq!(told, [format!("{lost} lost")], "once");
    }

    #[test]
    fn a_reader_that_is_gone_ends_nothing() {
        let (out, reader) = UnixStream::pair().unwrap();
        drop(reader);
        let lines = Lines::to(out, obituary).unwrap();
        log(&lines, 10);
        lines.farewell();
        assert_eq!(lines.lost(), 10);
    }

    #[test]
    fn what_was_logged_last_is_written_before_the_end() {
        let (out, mut reader) = UnixStream::pair().unwrap();
        let lines = Lines::to(out, obituary).unwrap();
        log(&lines, 100);
        lines.farewell();
        drop(lines);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!((all.lines().count(), all.lines().last()), (100, Some("99")));
    }
}
