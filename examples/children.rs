//! A backend of one's own, with no WebAssembly in it: each instance is a child process.
//!
//! A child answers each line on its stdin with a line on its stdout. The pool decides when one is started, reused and
//! ended, and what waits; this file only carries that out. docs/BACKENDS.md goes through it.
//!
//! ```sh
//! cargo run --release -p millpond-examples --example children [COMMAND [ARGUMENT]...]
//!
//! curl localhost:3000/hello    # /hello from 4711, and the same child again for the next request
//! curl localhost:3000/exit     # 500 "guest exited": the child ends without an answer
//! curl localhost:3000/sleep    # 504 "request timeout": it is killed after 2 s
//! curl localhost:3000/stats
//! ```
//! `ADDR` is the address to listen on, `127.0.0.1:3000` if there is none.

use std::env;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use millpond_pool_core::expiration::{BoxExpiration, boxed, standard};
use millpond_pool_core::{
    Driver, Error as PoolError, Failure, Instance, InstanceEvent, InstanceId, Limits, MaxRequests,
    PoolHandle, Reason, Refusal, RequestId, Runtime, Start,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

const ECHO: &str = "while read -r line; do case $line in /exit) exit;; /sleep) exec sleep 1000;; \
                    *) printf '%s from %s\\n' \"$line\" $$;; esac; done";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut command: Vec<String> = env::args().skip(1).collect();
    if command.is_empty() {
        command = ["sh", "-c", ECHO].map(str::to_owned).to_vec();
    }
    let mut limits = Limits::default();
    (limits.max_instances, limits.max_requests) = (4, MaxRequests::unlimited());
    limits.request_timeout = Duration::from_secs(2);
    (limits.queue_timeout, limits.idle_timeout) =
        (Duration::from_secs(60), Duration::from_secs(600));
    let pool = PoolHandle::new(Children { command, runtime: Tokio }, limits, 0);

    let (watched, served) = (pool.clone(), pool.clone());
    let stats = async move || {
        let now = watched.snapshot();
        format!("children: {} live, {} ended\n", now.instances.live(), now.retired.total())
    };
    let app = Router::new()
        .route("/stats", get(stats))
        .fallback(async move |uri: Uri| serve(&served, uri.path()).await);
    let listener =
        TcpListener::bind(env::var("ADDR").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("Listening on http://{}/", listener.local_addr()?);
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c).await?;
    pool.drain().await;
    Ok(())
}

async fn serve(pool: &Pool, path: &str) -> (StatusCode, String) {
    let (answer, answered) = oneshot::channel();
    let answer = async {
        let job = Job { line: path.to_owned(), answer };
        // Dropping it before its end, as axum does when the client leaves, cancels the request.
        let mut submitted = pool.try_submit(job).map_err(|(error, _)| error)?;
        // A job that is dropped unanswered was for an instance that ended before it had it.
        let ended = |_| Err(Failure::Retired(Reason::Host).into());
        let answer = answered.await.unwrap_or_else(ended);
        submitted.over();
        answer
    };
    match answer.await {
        Ok(line) => (StatusCode::OK, line),
        Err(error) => (StatusCode::from_u16(error.status()).unwrap(), format!("{error}\n")),
    }
}

/// Carries out what the pool decides.
struct Children {
    command: Vec<String>,
    runtime: Tokio,
}

/// A request: a line to send, and where its answer goes.
struct Job {
    line: String,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<String, PoolError>>;
type Pool = PoolHandle<Children>;

/// What is kept of an instance. Effects may overtake each other: it can be told to end before it is started.
#[derive(Default)]
struct State {
    ended: bool,
    child: Option<Child>,
    /// `None` while a request has them.
    pipes: Option<Pipes>,
    caller: Option<(RequestId, Answer)>,
}

struct Pipes(ChildStdin, BufReader<ChildStdout>);

impl Driver for Children {
    type Item = Job;
    type Slot = Mutex<State>;
    type Runtime = Tokio;

    fn runtime(&self) -> &Tokio {
        &self.runtime
    }

    fn expiration(&self, _: InstanceId) -> BoxExpiration {
        boxed(standard())
    }

    /// A fork takes no time to speak of. Where a start takes long, it is for a task.
    fn start(&self, pool: &Pool, instance: Instance<Self>, start: Start<Job>) {
        let (child, pipes) = match spawn(&self.command) {
            Ok(spawned) => spawned,
            Err(error) => {
                if let Some((_, job)) = start.request {
                    let error = PoolError::from(Refusal::StartFailed).with_source(error);
                    let _ = job.answer.send(Err(error));
                }
                return pool.report(instance.id(), InstanceEvent::StartFailed);
            }
        };
        let mut state = instance.slot().lock().unwrap();
        (state.child, state.pipes) = (Some(child), Some(pipes));
        let ended = state.ended;
        drop(state);
        if ended {
            return self.retire(pool, instance, Reason::Host);
        }
        pool.report(instance.id(), InstanceEvent::Started);
        if let Some((request, job)) = start.request {
            self.assign(pool, instance, request, job);
        }
    }

    fn assign(&self, pool: &Pool, instance: Instance<Self>, request: RequestId, job: Job) {
        let mut state = instance.slot().lock().unwrap();
        let Some(pipes) = state.pipes.take() else {
            drop(state);
            return pool.report(instance.id(), InstanceEvent::Returned(request, job));
        };
        state.caller = Some((request, job.answer));
        drop(state);
        tokio::spawn(ask(pool.clone(), instance, request, pipes, job.line));
    }

    fn refuse(&self, _: RequestId, job: Job, refusal: Refusal) {
        let _ = job.answer.send(Err(refusal.into()));
    }

    fn fail(&self, instance: Instance<Self>, request: RequestId, failure: Failure) {
        let caller = instance.slot().lock().unwrap().caller.take_if(|(id, _)| *id == request);
        if let Some((_, caller)) = caller {
            let _ = caller.send(Err(failure.into()));
        }
    }

    fn retire(&self, pool: &Pool, instance: Instance<Self>, _: Reason) {
        let mut state = instance.slot().lock().unwrap();
        state.ended = true;
        state.pipes = None;
        if let Some(mut child) = state.child.take() {
            drop(state);
            let pool = pool.clone();
            tokio::spawn(async move {
                // It counts against the limit until it is gone.
                let _ = child.kill().await;
                pool.report(instance.id(), InstanceEvent::Dropped);
            });
        }
    }
}

/// Sends a line, and gives its caller the answer.
async fn ask(
    pool: Pool,
    child: Instance<Children>,
    id: RequestId,
    mut to: Pipes,
    mut line: String,
) {
    let _ = to.0.write_all(format!("{line}\n").as_bytes()).await;
    line.clear();
    if to.1.read_line(&mut line).await.unwrap_or(0) == 0 {
        // The pool fails the request. If it had the child killed, it knows already, and ignores this.
        return pool.report(child.id(), InstanceEvent::Broken(Reason::Exit));
    }
    // False if it is too late: then the pool fails the request.
    let in_time = pool.responded(id);
    let mut state = child.slot().lock().unwrap();
    let caller = state.caller.take_if(|(caller, _)| in_time && *caller == id);
    state.pipes = (!state.ended).then_some(to);
    drop(state);
    // Before the answer, so that the next request of the same client finds the child idle.
    pool.report_all(child.id(), [InstanceEvent::Ended(id), InstanceEvent::Quiet]);
    if let Some((_, caller)) = caller {
        let _ = caller.send(Ok(line));
    }
}

fn spawn(command: &[String]) -> io::Result<(Child, Pipes)> {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("both are piped");
    Ok((child, Pipes(stdin, BufReader::new(stdout))))
}

/// Time and tasks.
struct Tokio;

impl Runtime for Tokio {
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        tokio::time::sleep_until(at.into())
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(task);
    }
}
