//! What a request costs without a network: a pool, and wasmtime's `ProxyHandler`, called in one thread of one
//! process, in turn. The best of many short batches: whatever the machine does to one, it does not do to all.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use millpond::{MaxRequests, Output, WasiHost, WasmPool};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime_wasi_http::handler::ProxyHandler;

use crate::Fallible;
use crate::compare::Guest;
use crate::peers::proxy_handler::{self, Serve};

/// Calls in a row that are timed together.
const BATCH: u32 = 200;
const BATCHES: usize = 40;

/// Bytes of memory of a small instance.
const SMALL: usize = 16 << 20;

const CASES: [&str; 4] = ["reused-0.2", "fresh-0.2", "reused-0.3", "fresh-0.3"];

#[derive(Args)]
pub(crate) struct Options {
    /// Only this one, as the first column names it
    #[arg(long)]
    case: Option<String>,
    /// Millpond alone, for a profiler
    #[arg(long)]
    alone: bool,
    /// With room for two small instances: valgrind has no addresses for more
    #[arg(long, requires = "alone")]
    small: bool,
}

pub(crate) fn run(options: &Options, rounds: usize) -> Fallible<()> {
    if let Some(case) = options.case.as_deref().filter(|case| !CASES.contains(case)) {
        return Err(format!("no case {case}; there are {}", CASES.join(", ")).into());
    }
    println!(
        "GET /hello, one call at a time: the best of {} batches of {BATCH}.\n",
        rounds * BATCHES
    );
    println!("{:<12} {:>12} {:>16} {:>8}", "", "millpond us", "ProxyHandler us", "ratio");
    for (guest, version) in [(Guest::HelloP2, "0.2"), (Guest::HelloP3, "0.3")] {
        for (name, reuse) in [("reused", usize::MAX), ("fresh", 1)] {
            let name = format!("{name}-{version}");
            if options.case.as_ref().is_some_and(|case| *case != name) {
                continue;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let best = runtime.block_on(best(guest, reuse, rounds, options))?;
            let theirs = if options.alone {
                format!("{:>16} {:>8}", "-", "-")
            } else {
                format!("{:>16.2} {:>8.2}", best[1], best[0] / best[1])
            };
            println!("{name:<12} {:>12.2} {theirs}", best[0]);
        }
    }
    Ok(())
}

/// Microseconds for a call.
async fn best(guest: Guest, reuse: usize, rounds: usize, options: &Options) -> Fallible<[f64; 2]> {
    let requests = MaxRequests::exactly(u64::try_from(reuse)?);
    let mut host = WasiHost::new().output(Output::None);
    if options.small {
        host = host.max_memory(SMALL);
    }
    let small = options.small;
    let pool = WasmPool::builder(host).limits(move |limits| {
        limits.max_requests = requests;
        if small {
            limits.max_instances = 2;
        }
    });
    let mut callees = vec![Callee::Pool(pool.from_file(guest.path())?)];
    if !options.alone {
        let engine = Engine::new(&proxy_handler::config()?)?;
        let component = Component::from_file(&engine, guest.path())?;
        let serve = Serve::new(&component, (Some(reuse), None), Arc::default())?;
        callees.push(Callee::ProxyHandler(ProxyHandler::new(serve)));
    }
    let mut best = [f64::INFINITY; 2];
    for _ in 0..rounds * BATCHES {
        for (callee, best) in callees.iter().zip(&mut best) {
            let begin = Instant::now();
            for _ in 0..BATCH {
                callee.call().await?;
                // What is left to do after an answer is a task.
                tokio::task::yield_now().await;
            }
            *best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
        }
    }
    Ok(best)
}

enum Callee {
    Pool(WasmPool),
    ProxyHandler(ProxyHandler<Serve>),
}

impl Callee {
    async fn call(&self) -> Fallible<()> {
        let request = Request::get("http://localhost/hello").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new())?;
        let body = match self {
            Self::Pool(pool) => {
                let response = pool.serve(pool.try_reserve()?, request).await?;
                response.into_body().collect().await?.to_bytes()
            }
            Self::ProxyHandler(handler) => {
                let request = request.map(|body| body.map_err(|e| match e {}).boxed_unsync());
                let response = handler.handle((), request).await?;
                response.into_body().collect().await?.to_bytes()
            }
        };
        if body == "hello\n" { Ok(()) } else { Err(format!("the answer is {body:?}").into()) }
    }
}
