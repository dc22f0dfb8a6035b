//! One turn at a time on each thread.
//!
//! What one effect causes (a start that fails at once, a budget's grant to another pool) is itself a
//! change with effects, and so on: carried out where they come up, a thousand waiting requests would be
//! a thousand calls deep. So a thread that is carrying out effects puts those that come up meanwhile
//! behind them. They stay on their thread: nobody waits for another's.
//!
//! A panic in one effect stops no other: it goes on once all are done.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sync::thread_local;

/// Each step is an effect.
type Work = Box<dyn Iterator<Item = ()>>;

type Panic = Box<dyn Any + Send>;

thread_local! {
    /// What comes after this thread's turn; `None`: it has no turn.
    static LATER: RefCell<Option<VecDeque<Work>>> = RefCell::new(None);
}

/// Does the work: now, or when this thread's turn, which is at something else, gets to it.
pub(super) fn take(work: impl Iterator<Item = ()> + 'static) {
    let mut work = Some(work);
    let deferred = LATER.try_with(|later| match &mut *later.borrow_mut() {
        Some(later) => {
            later.extend(work.take().map(|work| Box::new(work) as Work));
            true
        }
        none => {
            *none = Some(VecDeque::new());
            false
        }
    });
    if work.is_none() {
        return;
    }
    let mut panic = None;
    go_through(&mut work, &mut panic);
    // On a thread that is ending there is no turn to take.
    if matches!(deferred, Ok(false)) {
        while let Some(work) = next() {
            go_through(&mut Some(work), &mut panic);
        }
    }
    match panic {
        // Two at once would end the process.
        Some(panic) if !std::thread::panicking() => resume_unwind(panic),
        _ => {}
    }
}

/// Leaves nothing of the work, which is not moved: effects are large. Keeps the first panic.
fn go_through(work: &mut Option<impl Iterator<Item = ()>>, first: &mut Option<Panic>) {
    let mut keep = |panic| *first = first.take().or(Some(panic));
    let Some(steps) = work else { return };
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| steps.by_ref().for_each(drop))) {
        keep(panic);
    }
    // With it perhaps the last handle of a pool.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| *work = None)) {
        keep(panic);
    }
}

/// What has come up meanwhile; if that is nothing, the turn is over.
fn next() -> Option<Work> {
    LATER.with(|later| {
        let mut later = later.borrow_mut();
        let next = later.as_mut().and_then(VecDeque::pop_front);
        if next.is_none() {
            *later = None;
        }
        next
    })
}
