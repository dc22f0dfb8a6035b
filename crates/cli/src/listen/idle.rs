//! When an HTTP/2 connection ends that does nothing any more, or takes nothing. HTTP/1.1 needs none of it: its idle time is that for the
//! next head, and its writes are watched on the wire.
//!
//! A state machine that is asked now and then, so a request costs it nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Pace, Rule, Slow};
use super::traffic::{Cut, View};

/// How often a connection is looked at. What is said to happen after a time happens up to so much later.
const TICK: Duration = Duration::from_secs(15);

/// From being told to finish until the end, where there are no streams to finish. A peer needs one round trip.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask again then.
    Look(Instant),
    /// Tell the connection to finish, and ask again then.
    Finish(Instant),
    /// End it.
    End(Cut),
}

#[derive(Debug)]
pub(crate) struct Watch {
    /// How long it may be without a stream.
    patience: Duration,
    /// Since when it is known to have none.
    idle: Option<Instant>,
    rule: Rule,
    /// Of all response bytes, also those of streams that are done: h2 has them, and no other watches them.
    pace: Pace,
    last: View,
    finishing: bool,
}

impl Watch {
    /// Ask for the first time at the second result.
    pub(crate) fn new(patience: Duration, rule: Rule, now: Instant, view: View) -> (Self, Instant) {
        let pace = Pace::new(rule);
        let mut watch = Self { patience, idle: None, rule, pace, last: view, finishing: false };
        watch.look(now, view);
        (watch, now + TICK)
    }

    /// What is to be done at this time, with a connection at this.
    pub(crate) fn handle_timeout(&mut self, now: Instant, view: View) -> Next {
        self.look(now, view);
        match self.pace.verdict(now) {
            Some(Slow::Stalled) => return Next::End(Cut::WriteStalled),
            Some(Slow::Trickles) => return Next::End(Cut::SlowWrites),
            None => {}
        }
        let idle = self.idle.is_some_and(|since| since + self.patience <= now);
        match (idle, self.finishing) {
            (true, true) => Next::End(Cut::Idle),
            (true, false) => {
                self.finishing = true;
                Next::Finish(now + FAREWELL)
            }
            (false, _) => Next::Look(now + TICK),
        }
    }

    fn look(&mut self, now: Instant, view: View) {
        let is_idle = view.streams == 0 && view.queued == 0 && view.opened == self.last.opened;
        self.idle = if is_idle { self.idle.or(Some(now)) } else { None };
        let bytes = view.moved - self.last.moved;
        if view.was_empty {
            self.pace = Pace::new(self.rule);
        } else if bytes > 0 {
            self.pace.moved(|| now, usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if view.queued > 0 {
            self.pace.wait(now);
        }
        self.last = view;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(60);
    const RULE: Rule =
        Rule { rate: 240, grace: Duration::from_secs(60), stall: Some(Duration::from_secs(30)) };

    /// The seconds until each thing that is done to a connection which is at this, of at most an hour.
    fn life(view: impl Fn(u64) -> View) -> Vec<(u64, &'static str)> {
        let begin = Instant::now();
        let (mut watch, mut now) = Watch::new(IDLE, RULE, begin, view(0));
        let mut done = Vec::new();
        while now < begin + SECOND * 3600 {
            let seconds = (now - begin).as_secs();
            now = match watch.handle_timeout(now, view(seconds)) {
                Next::Look(at) => at,
                Next::Finish(at) => {
                    done.push((seconds, "finish"));
                    at
                }
                Next::End(cut) => {
                    done.push((
                        seconds,
                        match cut {
                            Cut::Idle => "idle",
                            Cut::SlowWrites => "slow",
                            _ => "stalled",
                        },
                    ));
                    return done;
                }
            };
        }
        done
    }

    fn view(streams: usize, opened: u64, queued: usize, moved: u64) -> View {
        View { streams, opened, queued, moved, was_empty: queued == 0 }
    }

    #[test]
    fn without_a_stream_it_ends() {
        assert_eq!(life(|_| view(0, 0, 0, 0)), [(60, "finish"), (70, "idle")]);
        assert_eq!(life(|now| view(0, now / 50, 0, 0)), [], "a request now and then");
        let once = life(|now| view(0, u64::from(now > 100), 0, 0));
        assert_eq!(once, [(60, "finish"), (70, "idle")]);
    }

    #[test]
    fn with_a_stream_it_stays() {
        assert_eq!(life(|_| view(1, 1, 0, 0)), [], "an event stream that is silent");
        assert_eq!(life(|now| view(1, 1, 1000, now * 240)), [], "a download");
        let events = |now| View { was_empty: true, ..view(9, 9, 10, now) };
        assert_eq!(life(events), [], "events that are taken, one of them under way");
    }

    #[test]
    fn with_bytes_that_do_not_move_it_ends() {
        assert_eq!(life(|_| view(0, 9, 1000, 0)), [(30, "stalled")]);
        assert_eq!(life(|_| view(1, 9, 1000, 0)), [(30, "stalled")], "beside a silent one");
        let later = life(|now| view(0, 9, 1000, now.min(100) * 240));
        assert_eq!(later, [(135, "stalled")], "a tick late at most");
    }

    #[test]
    fn with_bytes_that_trickle_it_ends() {
        // They are taken one by one, of responses whose streams are done.
        assert_eq!(life(|now| view(0, 9, 1000, now)), [(75, "slow")]);
        assert_eq!(life(|now| view(1, 9, 1000, now)), [(75, "slow")], "beside a silent one");
    }
}
