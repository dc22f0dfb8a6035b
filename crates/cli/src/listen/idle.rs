//! When an HTTP/2 connection ends that does nothing any more. HTTP/1.1 needs none of it: its idle time is that for the
//! next head, and its writes are watched on the wire.
//!
//! A state machine that is asked now and then, so a request costs it nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::traffic::{Cut, View};

/// How often a connection is looked at. What is said to happen after a time happens up to so much later.
const TICK: Duration = Duration::from_secs(15);

/// From being told to finish until the end, where there are no streams to finish. A peer needs one round trip.
const FAREWELL: Duration = Duration::from_secs(10);

/// The times of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// Without a stream.
    pub(crate) idle: Duration,
    /// With response bytes under way of which none moves.
    pub(crate) stall: Duration,
}

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
    times: Times,
    last: View,
    /// Since when it is known to have no stream.
    idle: Option<Instant>,
    /// Since when it is known to move nothing that is under way.
    stuck: Option<Instant>,
    finishing: bool,
}

impl Watch {
    /// Ask for the first time at the second result.
    pub(crate) fn new(times: Times, now: Instant, view: View) -> (Self, Instant) {
        let mut watch = Self { times, last: view, idle: None, stuck: None, finishing: false };
        watch.look(now, view);
        (watch, now + TICK)
    }

    /// What is to be done at this time, with a connection at this.
    pub(crate) fn handle_timeout(&mut self, now: Instant, view: View) -> Next {
        self.look(now, view);
        let over = |since: Option<Instant>, time| since.is_some_and(|since| since + time <= now);
        if over(self.stuck, self.times.stall) {
            return Next::End(Cut::WriteStalled);
        }
        match (over(self.idle, self.times.idle), self.finishing) {
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
        let is_stuck = view.queued > 0 && view.moved == self.last.moved;
        self.stuck = if is_stuck { self.stuck.or(Some(now)) } else { None };
        self.last = view;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: Times = Times { idle: Duration::from_secs(60), stall: Duration::from_secs(30) };

    /// The seconds until each thing that is done to a connection which is at this, of at most an hour.
    fn life(view: impl Fn(u64) -> View) -> Vec<(u64, &'static str)> {
        let begin = Instant::now();
        let (mut watch, mut now) = Watch::new(TIMES, begin, view(0));
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
                    done.push((seconds, if cut == Cut::Idle { "idle" } else { "stalled" }));
                    return done;
                }
            };
        }
        done
    }

    fn view(streams: usize, opened: u64, queued: usize, moved: u64) -> View {
        View { streams, opened, queued, moved }
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
        assert_eq!(life(|now| view(1, 1, 1000, now)), [], "a download");
    }

    #[test]
    fn with_bytes_that_do_not_move_it_ends() {
        assert_eq!(life(|_| view(0, 9, 1000, 0)), [(30, "stalled")]);
        assert_eq!(life(|_| view(1, 9, 1000, 0)), [(30, "stalled")], "beside a silent one");
        let later = life(|now| view(0, 9, 1000, now.min(100)));
        assert_eq!(later, [(150, "stalled")], "a tick late at most");
    }
}
