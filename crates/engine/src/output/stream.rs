//! The host's stdout and stderr: a bounded queue, and a thread that writes what is in it.
//!
//! Nothing waits for a reader, and nothing fails with the stream: what finds the queue full, or
//! cannot be written, is lost. It is counted, and the stream itself says so once it can be written
//! to again.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::escape::Escaped;
use crate::sync::lock;

/// Bytes that may wait to be written.
const ROOM: usize = 1 << 20;
/// Pieces that may, each of which is a line at least.
const PIECES: usize = 8 * 1024;
/// Guests may take so many quarters of both: what the host says finds room beside what they print.
const OF_GUESTS: usize = 3;
/// How long a stream that is set not to block is left alone when it would.
const PAUSE: Duration = Duration::from_millis(10);

/// What was not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Lines, whole or in part.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Lost {
    pub(super) fn of(piece: &[u8]) -> Self {
        let lines = piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        Self { lines: lines.max(1), bytes: piece.len() as u64 }
    }

    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }

    fn note(self) -> String {
        let Self { lines, bytes } = self;
        format!("[{lines} lines lost, {bytes} bytes: they could not be written]\n")
    }
}

/// One of the host's two streams. Putting something into it never waits and never fails.
///
/// The process should not end before [`flush`](Self::flush).
pub struct HostStream {
    name: &'static str,
    queue: Mutex<Queue>,
    /// Told when there is something to write.
    filled: Condvar,
    /// Told when something has been written.
    written: Condvar,
}

struct Queue {
    pieces: VecDeque<Piece>,
    /// Of these, and of the one that is being written.
    bytes: usize,
    /// Pieces put, and dealt with, since the start.
    put: u64,
    done: u64,
    /// What was lost since the last piece that was put.
    unsaid: Lost,
    lost: Lost,
    note: fn(Lost) -> String,
    writer: Writer,
}

struct Piece {
    bytes: Vec<u8>,
    /// What was lost before it.
    before: Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    New,
    Runs,
    /// No thread could be had.
    None,
}

static STDOUT: HostStream = HostStream::new("stdout");
static STDERR: HostStream = HostStream::new("stderr");

impl HostStream {
    /// Returns the process's stdout.
    pub fn stdout() -> &'static Self {
        &STDOUT
    }

    /// Returns the process's stderr.
    pub fn stderr() -> &'static Self {
        &STDERR
    }

    const fn new(name: &'static str) -> Self {
        let nothing = Lost { lines: 0, bytes: 0 };
        let queue = Queue {
            pieces: VecDeque::new(),
            bytes: 0,
            put: 0,
            done: 0,
            unsaid: nothing,
            lost: nothing,
            note: Lost::note,
            writer: Writer::New,
        };
        Self { name, queue: Mutex::new(queue), filled: Condvar::new(), written: Condvar::new() }
    }

    /// Writes these bytes after all that was put before.
    pub fn put(&'static self, bytes: Vec<u8>) {
        self.put_within(bytes, 4);
    }

    /// The same for what a guest prints.
    pub(super) fn put_of_guest(&'static self, bytes: Vec<u8>) {
        self.put_within(bytes, OF_GUESTS);
    }

    /// Writes a line. What is no character of a line is escaped.
    pub fn put_line(&'static self, line: &str) {
        let mut escaped = String::with_capacity(line.len() + 1);
        // A string takes everything.
        let _ = Escaped(&mut escaped).write_str(line);
        escaped.push('\n');
        self.put(escaped.into_bytes());
    }

    fn put_within(&'static self, bytes: Vec<u8>, quarters: usize) {
        let mut queue = lock(&self.queue);
        if queue.writer == Writer::New {
            let open = if std::ptr::eq(self, &STDOUT) { open_stdout } else { open_stderr };
            self.begin(&mut queue, open);
        }
        let fits = queue.bytes + bytes.len() <= ROOM / 4 * quarters
            && queue.pieces.len() < PIECES / 4 * quarters;
        if !fits || queue.writer == Writer::None {
            let lost = Lost::of(&bytes);
            queue.unsaid.add(lost);
            queue.lost.add(lost);
            return;
        }
        queue.put += 1;
        queue.bytes += bytes.len();
        let before = std::mem::take(&mut queue.unsaid);
        queue.pieces.push_back(Piece { bytes, before });
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until what was put before is written or lost, but not longer than this. Whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = lock(&self.queue);
        let put = queue.put;
        while queue.done < put {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.written.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Returns what was lost so far.
    pub fn lost(&self) -> Lost {
        lock(&self.queue).lost
    }

    /// Changes how the stream says what was lost: a line, with its end.
    pub fn set_note(&self, note: fn(Lost) -> String) {
        lock(&self.queue).note = note;
    }

    fn begin<W: Write>(
        &'static self,
        queue: &mut Queue,
        open: impl FnOnce() -> W + Send + 'static,
    ) {
        let thread = std::thread::Builder::new().name(format!("millpond-{}", self.name));
        let spawned = thread.spawn(move || self.write(open()));
        queue.writer = if spawned.is_ok() { Writer::Runs } else { Writer::None };
    }

    fn write(&self, to: impl Write) {
        let mut out = Out { to, torn: false, works: true };
        let mut queue = lock(&self.queue);
        loop {
            let note = queue.note;
            if let Some(Piece { bytes, before }) = queue.pieces.pop_front() {
                drop(queue);
                let unsaid = out.say(before, note);
                let rest = if unsaid == Lost::default() { out.write(&bytes) } else { &bytes };
                let lost = if rest.is_empty() { Lost::default() } else { Lost::of(rest) };
                queue = lock(&self.queue);
                queue.bytes -= bytes.len();
                queue.done += 1;
                queue.lost.add(lost);
                // Before the next piece, or when there is something that can be written.
                let next = queue.next_unsaid();
                next.add(unsaid);
                next.add(lost);
                self.written.notify_all();
            } else if queue.unsaid != Lost::default() && out.works {
                let before = std::mem::take(&mut queue.unsaid);
                drop(queue);
                let unsaid = out.say(before, note);
                queue = lock(&self.queue);
                queue.next_unsaid().add(unsaid);
            } else {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Queue {
    fn next_unsaid(&mut self) -> &mut Lost {
        match self.pieces.front_mut() {
            Some(piece) => &mut piece.before,
            None => &mut self.unsaid,
        }
    }
}

impl std::fmt::Debug for HostStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostStream").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where the bytes go.
struct Out<W> {
    to: W,
    /// What was written last is the beginning of a line whose rest is lost.
    torn: bool,
    /// The last write did not fail.
    works: bool,
}

impl<W: Write> Out<W> {
    /// Says what was lost. Gives it back if that cannot be said.
    fn say(&mut self, lost: Lost, note: fn(Lost) -> String) -> Lost {
        if lost == Lost::default() {
            return lost;
        }
        if self.torn && self.write(b"\n").is_empty() {
            self.torn = false;
        }
        if !self.torn && self.write(note(lost).as_bytes()).is_empty() {
            return Lost::default();
        }
        lost
    }

    /// Gives back what could not be written.
    fn write<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE)
                }
                Ok(_) | Err(_) => break,
            }
        }
        self.works = rest.is_empty() && self.to.flush().is_ok();
        self.torn |= !rest.is_empty() && rest.len() < bytes.len();
        rest
    }
}

fn open_stdout() -> Box<dyn Write> {
    unbuffered(io::stdout())
}

fn open_stderr() -> Box<dyn Write> {
    unbuffered(io::stderr())
}

/// Not the standard library's handle: a line that cannot be written would stay in its buffer, and
/// others would wait for its lock.
#[cfg(unix)]
fn unbuffered(stream: impl Write + std::os::fd::AsFd + 'static) -> Box<dyn Write> {
    match stream.as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(std::fs::File::from(fd)),
        Err(_) => Box::new(stream),
    }
}

#[cfg(not(unix))]
fn unbuffered(stream: impl Write + 'static) -> Box<dyn Write> {
    Box::new(stream)
}

#[cfg(test)]
mod tests;
