//! How long a request takes in pool-core. `cargo bench -p millpond-pool-bench`

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use millpond_pool_bench::{Bare, Beside, Caller, Case, Clock, Handled, Shape};

const INSTANCES: [usize; 5] = [1, 10, 100, 1000, 10_000];
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// How often the reaper is given a turn: its timers are no finer.
const TICK: Duration = Duration::from_millis(1);

criterion_main!(costs);
criterion_group! {
    name = costs;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = pool, handle
}

/// The state machine alone.
fn pool(criterion: &mut Criterion) {
    for (shape, beside) in Case::KINDS {
        let mut group = criterion.benchmark_group(format!("pool/{shape}/{beside:?}"));
        for instances in INSTANCES {
            let mut bare = Bare::new(Case { shape, beside, instances });
            let id = BenchmarkId::from_parameter(instances);
            group.bench_function(id, |bencher| bencher.iter(|| bare.request()));
        }
        group.finish();
    }
}

/// With its lock, which threads contend for. The time is that of all requests divided by their number.
fn handle(criterion: &mut Criterion) {
    let kinds = [
        (Shape::Reused, Beside::Idle),
        (Shape::Fresh, Beside::Busy),
        (Shape::Shared, Beside::Idle),
    ];
    for (shape, beside) in kinds {
        let mut group = criterion.benchmark_group(format!("handle/{shape}/{beside:?}"));
        for threads in THREADS {
            for instances in INSTANCES {
                // With fewer instances than threads, the scheduler would be measured.
                let case = Case { shape, beside, instances: instances.max(threads) };
                let (handled, mut callers) = Handled::new(case, Clock::real(), threads);
                let id = BenchmarkId::new(format!("{threads} threads"), instances);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|requests| together(&handled, &mut callers, requests));
                });
                // Its end would take longer than the rest.
                std::mem::forget((handled, callers));
            }
        }
        group.finish();
    }
}

/// The time of so many requests, spread over the callers.
fn together(handled: &Handled, callers: &mut [Caller], requests: u64) -> Duration {
    let each = requests.div_ceil(callers.len() as u64);
    let submitted = each * callers.len() as u64;
    let start = Barrier::new(callers.len());
    let over = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                handled.turn();
                thread::sleep(TICK);
            }
        });
        // Each looks at the clock itself: who waits for them may be scheduled long after they began.
        let run = |caller: &mut Caller| {
            start.wait();
            let began = Instant::now();
            (0..each).for_each(|_| caller.request());
            (began, Instant::now())
        };
        let threads = callers.iter_mut().map(|caller| scope.spawn(move || run(caller)));
        let threads: Vec<_> = threads.collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        let (began, ended): (Vec<_>, Vec<_>) = times.unzip();
        let took = ended.into_iter().max().zip(began.into_iter().min());
        let took = took.map_or(Duration::ZERO, |(ended, began)| ended - began);
        over.store(true, Relaxed);
        took
    });
    took.mul_f64(requests as f64 / submitted as f64)
}
