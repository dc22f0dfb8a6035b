use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of the test's own.
fn stream<W: Write>(to: impl FnOnce() -> W + Send + 'static) -> &'static HostStream {
    let stream: &'static HostStream = Box::leak(Box::new(HostStream::new("test")));
    stream.begin(&mut lock(&stream.queue), to);
    stream
}

/// Each write waits for what the test says of it.
struct Told {
    /// How many bytes it takes, or what it fails with.
    answers: Receiver<io::Result<usize>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once the test says no more, everything is taken.
        let taken = self.answers.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        lock(&self.written).extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Fixture {
    stream: &'static HostStream,
    answer: Option<Sender<io::Result<usize>>>,
    written: Arc<Mutex<Vec<u8>>>,
}

fn told() -> Fixture {
    let (answer, answers) = channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let to = Told { answers, written: Arc::clone(&written) };
    Fixture { stream: stream(move || to), answer: Some(answer), written }
}

impl Fixture {
    fn answer(&self, answer: io::Result<usize>) {
        self.answer.as_ref().expect("it is told").send(answer).expect("it writes");
    }

    /// From here on everything is taken. What came in all, once it has.
    fn take_all(&mut self) -> String {
        self.answer = None;
        assert!(self.stream.flush(PATIENCE), "it is stuck");
        String::from_utf8(lock(&self.written).clone()).expect("text")
    }

    /// Puts a line, and waits until the thread has it in its hands.
    fn hold(&self) {
        self.stream.put_line("held");
        let deadline = std::time::Instant::now() + PATIENCE;
        while !lock(&self.stream.queue).pieces.is_empty() {
            assert!(std::time::Instant::now() < deadline, "it is not taken");
            std::thread::yield_now();
        }
    }

    /// Puts lines of 100 bytes until one is lost, and says how many were not.
    fn fill(&self, put: fn(&'static HostStream, Vec<u8>)) -> u64 {
        let lost = self.stream.lost().lines;
        (0..)
            .find(|_| {
                put(self.stream, [&[b'x'; 99][..], b"\n"].concat());
                self.stream.lost().lines > lost
            })
            .expect("it is bounded")
    }
}

const FULL: io::ErrorKind = io::ErrorKind::StorageFull;

#[test]
fn an_unread_stream_is_bounded() {
    let mut told = told();
    told.hold();
    let lines = told.fill(HostStream::put);
    assert!(lines.abs_diff(PIECES as u64) <= 1, "{lines}");
    assert!(!told.stream.flush(Duration::from_millis(1)));
    told.stream.put(b"lost as well\nand this\n".to_vec());
    assert_eq!(told.stream.lost(), Lost { lines: 3, bytes: 122 });
    let text = told.take_all();
    told.stream.put_line("after");
    let text = if text.ends_with("written]\n") { text } else { told.take_all() };
    let note = "[3 lines lost, 122 bytes: they could not be written]\n";
    assert_eq!(text.matches('x').count() as u64, lines * 99);
    assert_eq!(text.matches(note).count(), 1, "{}", &text[text.len() - 200..]);
}

#[test]
fn large_pieces_are_bounded_by_their_bytes() {
    let told = told();
    let piece = vec![b'x'; ROOM / 8];
    let put = (0..100).filter(|_| {
        let lost = told.stream.lost();
        told.stream.put(piece.clone());
        told.stream.lost() == lost
    });
    assert_eq!(put.count(), 8, "the one that is being written counts");
}

#[test]
fn guests_leave_room_for_the_host() {
    let told = told();
    let guests = told.fill(HostStream::put_of_guest);
    assert!(guests.abs_diff(PIECES as u64 / 4 * 3) <= 1, "{guests}");
    let host = told.fill(HostStream::put);
    assert!(host.abs_diff(PIECES as u64 / 4) <= 1, "{host}");
}

#[test]
fn a_full_disk_loses_lines_and_says_so() {
    let mut told = told();
    told.stream.put_line("first");
    told.answer(Ok(3));
    told.answer(Err(FULL.into()));
    assert!(told.stream.flush(PATIENCE));
    told.stream.put_line("second");
    // The end of the torn line.
    told.answer(Err(FULL.into()));
    assert!(told.stream.flush(PATIENCE));
    assert_eq!(told.stream.lost(), Lost { lines: 2, bytes: 10 });
    told.stream.put_line("third");
    let expected = "fir\n[2 lines lost, 10 bytes: they could not be written]\nthird\n";
    assert_eq!(told.take_all(), expected);
}

#[test]
fn a_nonblocking_stream_is_tried_again() {
    let mut told = told();
    told.stream.put_line("first");
    told.answer(Err(io::ErrorKind::WouldBlock.into()));
    told.answer(Err(io::ErrorKind::Interrupted.into()));
    assert_eq!(told.take_all(), "first\n");
    assert_eq!(told.stream.lost(), Lost::default());
}

#[test]
fn a_line_is_one_line() {
    let mut told = told();
    told.stream.put_line("a\nb\u{1b}[2J");
    assert_eq!(told.take_all(), "a\\nb\\u{1b}[2J\n");
}
