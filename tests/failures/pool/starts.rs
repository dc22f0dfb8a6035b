use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use millpond::wasmtime;
use millpond::{Limits, Reason};
use millpond_tests::{PATIENCE, Reply, Server};

use crate::setup::{
    Record, Recorder, SECOND, Seen, Sent, Setup, assert_answer, assert_failure, drain, one_instance,
};

type AtData = Box<dyn Fn(u64) -> wasmtime::Result<()> + Send + Sync>;

/// An instance fails to start if its number is a multiple of this.
fn failing(every: u64) -> AtData {
    Box::new(move |instance| match instance.is_multiple_of(every) {
        true => Err(wasmtime::format_err!("a secret of the host")),
        false => Ok(()),
    })
}

fn panicking(every: u64) -> AtData {
    Box::new(move |instance| {
        assert!(!instance.is_multiple_of(every), "a secret of the host");
        Ok(())
    })
}

#[track_caller]
fn assert_not_started(reply: &Reply) {
    assert_failure(reply, 500, "proxy_internal_error", "instantiation failed");
}

/// With 2 instances, 20 requests, and every second start failing.
async fn fail_exactly_theirs(setup: Setup, at_data: AtData) {
    let (mut recorder, record) = Recorder::new();
    recorder.at_data = at_data;
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 2))
        .await;
    let replies = join_all((0..20).map(|_| server.get("/hello"))).await;
    let (good, bad): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.status.as_u16() == 200);
    assert_eq!((good.len(), bad.len()), (10, 10), "a start for each request");
    good.iter().for_each(|reply| assert_answer(reply, "hello\n"));
    bad.iter().for_each(|reply| assert_not_started(reply));
    assert_eq!(record.requests().len(), 10);
    let now = drain(&server).await;
    assert_eq!((now.starts, now.failed_starts), (20, 10));
    assert_eq!((now.responded, now.refused, now.failed), (10, 10, 0));
    assert_eq!(now.retired.get(Reason::Host), 10);
    assert_eq!(now.retired.get(Reason::Requests), 10);
}

async fn failed_starts_fail_only_their_requests(setup: Setup) {
    fail_exactly_theirs(setup, failing(2)).await;
}
setups!(failed_starts_fail_only_their_requests: p2_fresh p3_exclusive);

async fn panicked_starts_fail_only_their_requests(setup: Setup) {
    fail_exactly_theirs(setup, panicking(2)).await;
}
setups!(panicked_starts_fail_only_their_requests: p2_fresh p3_exclusive);

async fn a_reusing_pool_survives_failed_starts(setup: Setup) {
    for at_data in [failing(2), panicking(2)] {
        let (mut recorder, _) = Recorder::new();
        recorder.at_data = at_data;
        // One, so that a request waits for it: an answer can be read before its guest is given back.
        let server =
            setup.serve_host(recorder, |builder| builder.limits(one_instance(setup))).await;
        for _ in 0..3 {
            assert_answer(&server.get("/counter").await, "1\n");
            assert_answer(&server.get("/counter").await, "2\n");
            let trap = server.get("/trap").await;
            assert_failure(&trap, 500, "proxy_internal_error", "guest trapped");
            assert_not_started(&server.get("/counter").await);
        }
        let now = drain(&server).await;
        assert_eq!((now.starts, now.failed_starts, now.refused), (6, 3, 3));
        assert_eq!((now.retired.get(Reason::Host), now.retired.get(Reason::Trap)), (3, 3));
    }
}
setups!(a_reusing_pool_survives_failed_starts: p2_reused p3_shared);

/// Something that is shut until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().expect("no panic under this lock") = true;
        self.0.1.notify_all();
    }

    /// Blocks the thread, which tokio is told beforehand.
    fn pass(&self) {
        tokio::task::block_in_place(|| {
            let open = self.0.0.lock().expect("no panic under this lock");
            let wait = self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open);
            assert!(!wait.expect("no panic under this lock").1.timed_out(), "the gate is opened");
        });
    }
}

async fn a_failed_shared_start_fails_one_request(setup: Setup) {
    let gate = Gate::default();
    let (mut recorder, record) = Recorder::new();
    let shut = gate.clone();
    recorder.at_data = Box::new(move |instance| {
        if instance == 1 {
            shut.pass();
            return Err(wasmtime::format_err!("a secret of the host"));
        }
        Ok(())
    });
    let server = setup
        .serve_host(recorder, |builder| builder.limits(|limits| limits.max_instances = 1))
        .await;
    let sent: Vec<_> = (0..5).map(|_| Sent::get(&server, "/counter")).collect();
    let now = server.until("all wait for the start", |now| now.queued == 5).await;
    assert_eq!((now.starts, now.instances.starting), (1, 1), "one start is for all of them");
    gate.open();

    let replies = join_all(sent.into_iter().map(Sent::reply)).await;
    let (good, bad): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.status.as_u16() == 200);
    assert_eq!((good.len(), bad.len()), (4, 1));
    assert_not_started(bad[0]);
    let mut counts: Vec<_> = good.iter().map(|reply| reply.text()).collect();
    counts.sort_unstable();
    assert_eq!(counts, ["1\n", "2\n", "3\n", "4\n"]);
    assert_eq!(record.all()[0], Seen::Started { instance: 2 });
    let now = drain(&server).await;
    assert_eq!((now.starts, now.failed_starts, now.refused, now.responded), (2, 1, 1, 4));
}
setups!(a_failed_shared_start_fails_one_request: p3_shared);

/// The first instance's start blocks until the gate is opened.
async fn serve_with_gate(setup: Setup, gate: &Gate) -> (Server<Recorder>, Record) {
    let (mut recorder, record) = Recorder::new();
    let shut = gate.clone();
    recorder.at_data = Box::new(move |instance| {
        if instance == 1 {
            shut.pass();
        }
        Ok(())
    });
    let limit = |limits: &mut Limits| limits.start_timeout = Duration::from_millis(500);
    (setup.serve_host(recorder, |builder| builder.limits(limit)).await, record)
}

async fn a_start_that_takes_too_long_is_given_up(setup: Setup) {
    let gate = Gate::default();
    let (server, record) = serve_with_gate(setup, &gate).await;
    // On a thread of its own: whether the runtime goes on meanwhile is another test's question.
    let pool = server.pool.clone();
    let opened = std::thread::spawn(move || {
        loop {
            let now = pool.snapshot();
            if now.failed_starts == 1 {
                gate.open();
                return now;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let sent = Sent::get(&server, "/hello");
    let reply = sent.reply().await;
    assert_failure(&reply, 503, "connection_timeout", "start timeout");
    assert_eq!(reply.headers["retry-after"], "1");
    let now = opened.join().expect("no panic");
    assert_eq!((now.retired.get(Reason::Timeout), now.refused), (1, 1));
    assert_eq!((now.starting, now.queued, now.busy), (0, 0, 0));
    assert_answer(&server.get("/hello").await, "hello\n");
    let now = drain(&server).await;
    assert_eq!((now.starts, now.failed_starts, now.responded), (2, 1, 1));
    assert_eq!(record.requests(), [2], "no guest saw the first");
}
setups!(a_start_that_takes_too_long_is_given_up);

async fn a_slow_start_holds_up_no_others(setup: Setup) {
    let gate = Gate::default();
    let (server, _) = serve_with_gate(setup, &gate).await;
    let sent = Sent::get(&server, "/hello");
    server.until("the start is given up", |now| now.failed_starts == 1).await;
    let begin = Instant::now();
    for _ in 0..3 {
        assert_answer(&server.get("/hello").await, "hello\n");
    }
    if setup.is_shared() {
        // Its caller does not drive the start, and so learns of it while the host still blocks.
        assert_eq!(sent.reply().await.status, 503);
    }
    let took = begin.elapsed();
    assert!(took < SECOND * 10, "not only once the start has ended: {took:?}");
    gate.open();
    drain(&server).await;
}
setups!(a_slow_start_holds_up_no_others);

async fn leaving_during_a_start_reaches_no_guest(setup: Setup) {
    let gate = Gate::default();
    let (mut recorder, record) = Recorder::new();
    let shut = gate.clone();
    let starts = Arc::new(AtomicUsize::new(0));
    let started = Arc::clone(&starts);
    recorder.at_data = Box::new(move |instance| {
        started.fetch_add(1, Ordering::SeqCst);
        if instance == 1 {
            shut.pass();
        }
        Ok(())
    });
    let server = setup.serve_host(recorder, |builder| builder).await;
    let left = Sent::get(&server, "/hello");
    let began = |_: &millpond::Snapshot| starts.load(Ordering::SeqCst) == 1;
    server.until("the start has begun", began).await;
    left.leave();
    if setup.is_shared() {
        server.until("it was noticed", |now| now.cancelled == 1).await;
    }
    gate.open();
    if setup.is_shared() {
        server.until("the instance is there for the next", |now| now.instances.idle == 1).await;
        assert_answer(&server.get("/counter").await, "1\n");
        assert_eq!(record.requests(), [2]);
        assert_eq!(server.pool.snapshot().starts, 1);
    } else {
        // The connection's task is what starts it: it notices when the start is done.
        server.until("it has ended", |now| now.instances.live() == 0).await;
        assert_answer(&server.get("/counter").await, "1\n");
    }
    drain(&server).await;
}
setups!(leaving_during_a_start_reaches_no_guest: p3_shared p2_fresh);
