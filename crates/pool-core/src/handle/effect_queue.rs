//! Effects that cause effects run one after another, not one inside another.
//!
//! What one effect causes (a start that fails at once, a budget's grant to another pool) is itself a
//! change with effects, and so on: carried out where they come up, a thousand waiting requests would be
//! a thousand calls deep. So a thread that is carrying out effects puts those that come up meanwhile
//! behind them. They stay on their thread: no thread waits for another's.
//!
//! Most drivers report something at once, so what is put behind is put into a queue that stays: nothing is
//! allocated for it. There is one for each type of driver, in practice one.
//!
//! A panic in one effect stops no other: it goes on once all are done.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sync::local;

/// Carries out effects.
pub(super) trait EffectRunner: Clone + 'static {
    type Effect: 'static;

    fn run(&self, effect: Self::Effect);
}

type Panic = Box<dyn Any + Send>;

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// It carries out effects.
    Running,
    /// The same, and more wait in its queues.
    Queued,
}

local! {
    static STATE: Cell<State> = Cell::new(State::Idle);
    /// The effects that wait until this thread is done with its present ones.
    static LATER: RefCell<Vec<Box<dyn Queue>>> = RefCell::new(Vec::new());
}

/// Carries out the effects, of which there is mostly one: now, or once this thread is done with those before them.
/// `last` runs after them, or at once if they wait; it may cause nothing but more effects.
pub(super) fn run<R: EffectRunner>(
    runner: &R,
    first: &mut Option<R::Effect>,
    others: &mut Vec<R::Effect>,
    last: impl FnOnce(),
) {
    // A thread that is ending has no state left.
    let before = STATE.try_with(|state| {
        let before = state.get();
        if before == State::Idle {
            state.set(State::Running);
        }
        before
    });
    if matches!(before, Ok(State::Running | State::Queued))
        && (first.is_none() && others.is_empty() || enqueue(runner, first, others))
    {
        return last();
    }
    let mut panic = None;
    run_one(runner, first, &mut panic);
    if !others.is_empty() {
        for effect in others.drain(..) {
            run_one(runner, &mut Some(effect), &mut panic);
        }
    }
    keep(last, &mut panic);
    if matches!(before, Ok(State::Idle)) {
        while let Some(next) = next::<R>() {
            match next {
                Next::Own(runner, effect) => {
                    run_one(&runner, &mut Some(effect), &mut panic);
                    // This may be the last handle of its pool.
                    keep(|| drop(runner), &mut panic);
                }
                Next::Other(effect) => keep(effect, &mut panic),
            }
        }
    }
    match panic {
        // Two at once would end the process.
        Some(panic) if !std::thread::panicking() => resume_unwind(panic),
        _ => {}
    }
}

/// Takes the effect, which is moved no more than it must be: effects are large.
fn run_one<R: EffectRunner>(runner: &R, effect: &mut Option<R::Effect>, first: &mut Option<Panic>) {
    let run_one = || effect.take().into_iter().for_each(|effect| runner.run(effect));
    keep(run_one, first);
}

/// Keeps the first panic.
fn keep(effect: impl FnOnce(), first: &mut Option<Panic>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(effect)) {
        *first = first.take().or(Some(panic));
    }
}

/// Returns false if this thread is ending and runs nothing later.
fn enqueue<R: EffectRunner>(
    runner: &R,
    first: &mut Option<R::Effect>,
    others: &mut Vec<R::Effect>,
) -> bool {
    let put = LATER.try_with(|later| {
        let mut later = later.borrow_mut();
        if let Some(queue) = later.iter_mut().find_map(|queue| queue.of::<R>()) {
            return extend(queue, runner, first, others);
        }
        let mut queue = Effects::<R>::new();
        extend(&mut queue, runner, first, others);
        later.push(Box::new(Later::<R>(queue)));
    });
    let put = put.is_ok();
    if put {
        let _ = STATE.try_with(|state| state.set(State::Queued));
    }
    put
}

fn extend<R: EffectRunner>(
    queue: &mut Effects<R>,
    runner: &R,
    first: &mut Option<R::Effect>,
    others: &mut Vec<R::Effect>,
) {
    if let Some(effect) = first.take() {
        queue.push_back((runner.clone(), effect));
    }
    if !others.is_empty() {
        queue.extend(others.drain(..).map(|effect| (runner.clone(), effect)));
    }
}

/// Returns the next effect that waits; if there is none, the thread is idle.
fn next<R: EffectRunner>() -> Option<Next<R>> {
    let next = STATE.try_with(|state| {
        let next = (state.get() == State::Queued).then(|| {
            LATER.try_with(|later| {
                let mut later = later.borrow_mut();
                let next = next_of(&mut later);
                if later.iter().all(|queue| queue.is_empty()) {
                    state.set(State::Running);
                }
                next
            })
        });
        let next = next.and_then(|next| next.ok().flatten());
        if next.is_none() {
            state.set(State::Idle);
        }
        next
    });
    next.ok().flatten()
}

enum Next<R: EffectRunner> {
    Own(R, R::Effect),
    Other(Box<dyn FnOnce()>),
}

fn next_of<R: EffectRunner>(later: &mut [Box<dyn Queue>]) -> Option<Next<R>> {
    let own = later.iter_mut().find_map(|queue| queue.of::<R>());
    match own.and_then(pop) {
        Some((runner, effect)) => Some(Next::Own(runner, effect)),
        None => later.iter_mut().find_map(|queue| queue.pop()).map(Next::Other),
    }
}

fn pop<R: EffectRunner>(effects: &mut Effects<R>) -> Option<(R, R::Effect)> {
    let next = effects.pop_front();
    // A burst leaves no memory behind.
    if effects.is_empty() && effects.capacity() > KEPT {
        *effects = VecDeque::new();
    }
    next
}

/// Effects for which a thread keeps room.
const KEPT: usize = 64;

type Effects<R> = VecDeque<(R, <R as EffectRunner>::Effect)>;

/// Effects of runners of one type.
trait Queue: Any {
    /// For a thread that began with runners of another type.
    fn pop(&mut self) -> Option<Box<dyn FnOnce()>>;

    fn is_empty(&self) -> bool;
}

struct Later<R: EffectRunner>(Effects<R>);

impl<R: EffectRunner> Queue for Later<R> {
    fn pop(&mut self) -> Option<Box<dyn FnOnce()>> {
        let (runner, effect) = pop(&mut self.0)?;
        Some(Box::new(move || runner.run(effect)))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl dyn Queue {
    fn of<R: EffectRunner>(&mut self) -> Option<&mut Effects<R>> {
        let queue: &mut dyn Any = self;
        queue.downcast_mut::<Later<R>>().map(|later| &mut later.0)
    }
}
