//! shuttle: many schedules, half of them drawn step by step, half by PCT, which runs threads by
//! priorities that change at a few random steps, and so finds what needs one thread to stand still
//! for long.
//!
//! The seed is fixed, so a test that fails fails again. To run nothing but the schedule that
//! failed, give the string that shuttle printed in `SHUTTLE_SCHEDULE`, and the name of the test.
//! `SHUTTLE_RANDOM_SEED` draws other schedules, `SHUTTLE_ITERATIONS` another number of them.

use std::env;
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};

pub(crate) use shuttle::future::block_on;
pub(crate) use shuttle::sync::{Mutex, atomic::AtomicU64};

const SEED: u64 = 0x6d69_6c6c_706f_6e64;

/// Changes of priority in one PCT schedule, and one.
const DEPTH: usize = 4;

pub(crate) mod thread {
    use std::cell::Cell;

    pub(crate) use shuttle::thread::JoinHandle;

    thread_local! {
        /// Whether the model has more than one thread. shuttle runs all of them on one.
        pub(super) static SPAWNED: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn spawn<T: Send + 'static>(
        body: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        SPAWNED.set(true);
        shuttle::thread::spawn(body)
    }
}

pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    run(model, 3000);
}

pub(crate) fn explore_bounded(model: impl Fn() + Send + Sync + 'static) {
    run(model, 3000);
}

pub(crate) fn explore_within(_: usize, model: impl Fn() + Send + Sync + 'static) {
    run(model, 3000);
}

pub(crate) fn explore_large(model: impl Fn() + Send + Sync + 'static) {
    run(model, 5000);
}

/// Runs a model under so many schedules of each kind.
fn run(model: impl Fn() + Send + Sync + 'static, schedules: usize) {
    let model = Arc::new(model);
    if let Ok(schedule) = env::var("SHUTTLE_SCHEDULE") {
        return schedule_with(ReplayScheduler::new_from_encoded(&schedule), model);
    }
    let given = env::var("SHUTTLE_ITERATIONS").ok();
    let schedules = given.map_or(schedules, |given| given.parse().expect("a number"));
    thread::SPAWNED.set(false);
    schedule_with(RandomScheduler::new_from_seed(SEED, schedules), Arc::clone(&model));
    // PCT takes a model with a single thread for a mistake.
    if thread::SPAWNED.get() {
        schedule_with(PctScheduler::new_from_seed(SEED, DEPTH, schedules), model);
    }
}

fn schedule_with(
    scheduler: impl Scheduler + 'static,
    model: Arc<impl Fn() + Send + Sync + 'static>,
) {
    let mut config = Config::new();
    // Effects cause effects, one call inside another.
    config.stack_size = 1 << 18;
    // That it takes every atomic for sequentially consistent: loom does not.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || model());
}
