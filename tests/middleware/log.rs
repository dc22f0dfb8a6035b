//! What guests log.

use std::io;
use std::sync::{Arc, Mutex};

use millpond_tests::Front;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::setup::{PROTOCOLS, Script, guests, out, says};

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on, down to this level.
    fn capture(level: Level) -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(log.clone())
            .with_ansi(false)
            .without_time();
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// The lines of guests, and empties it.
    fn guests(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic under this lock"));
        let text = String::from_utf8(bytes).expect("text");
        let lines = text.lines().filter(|line| line.contains("millpond::guest:"));
        lines.map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic under this lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const ALL: &str =
    "log -2 detail;log -1 debug;log 0 info;log 1 warn;log 2 error;log 3 none;log 99 no";
const ENABLED: &str = "enabled -2;enabled -1;enabled 0;enabled 1;enabled 2;enabled 3;enabled 99";

// One thread: the subscriber is the thread's.
#[tokio::test(flavor = "current_thread")]
async fn log_levels_follow_the_hosts_filter() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let said = [
        ("DEBUG", "detail"),
        ("DEBUG", "debug"),
        ("INFO", "info"),
        ("WARN", "warn"),
        ("ERROR", "error"),
    ];
    for (request, (level, enabled, first)) in (1..).zip([
        (Level::DEBUG, "1;1;1;1;1;0;0", 0),
        (Level::INFO, "0;0;1;1;1;0;0", 2),
        (Level::WARN, "0;0;0;1;1;0;0", 3),
        (Level::ERROR, "0;0;0;0;1;0;0", 4),
    ]) {
        let (log, _guard) = Log::capture(level);
        let reply = Script(ENABLED, ALL).get(&mut client).await;
        assert_eq!(out(&reply), enabled, "{level}");
        let lines = log.guests();
        assert_eq!(lines.len(), said.len() - first, "{level}: {lines:?}");
        for (line, (level, message)) in lines.iter().zip(&said[first..]) {
            let begin = format!("{level} millpond::guest: {message} ");
            assert!(line.starts_with(&begin), "{line:?}: {begin:?}");
            let end = format!("instance.id=1 request.id={request}");
            assert!(line.contains("guest=") && line.ends_with(&end), "{line}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn messages_may_be_binary_and_are_cut() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let (log, _guard) = Log::capture(Level::INFO);
    Script("log 0 a%FFb;log 0 %", "").get(&mut client).await;
    let lines = log.guests();
    assert!(lines[0].contains(" a\u{fffd}b "), "{lines:?}");
    assert_eq!(lines.len(), 2, "nothing is something: {lines:?}");

    let script = format!("log 1 {}", "Q".repeat(9000));
    Script(&script, "").get(&mut client).await;
    let lines = log.guests();
    assert_eq!(lines[0].matches('Q').count(), 8192);
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_is_one_line_left_to_right() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let (log, _guard) = Log::capture(Level::INFO);
    let script = "log 2 a%0A2026%20ERROR%20millpond:%20forged%1B[31m%E2%80%A8%E2%80%AE";
    Script(script, "").get(&mut client).await;
    let lines = log.guests();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let expected = r" a\n2026 ERROR millpond: forged\u{1b}[31m\u{2028}\u{202e} ";
    assert!(lines[0].contains(expected), "{lines:?}");
}
