//! One turn at a time on each thread.
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

/// Who carries out steps.
pub(super) trait EffectRunner: Clone + 'static {
    /// An effect.
    type Step: 'static;

    fn carry_out(&self, step: Self::Step);
}

type Panic = Box<dyn Any + Send>;

/// What a thread is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    /// It carries out effects.
    Taken,
    /// The same, and something was put behind them.
    Followed,
}

local! {
    static TURN: Cell<Turn> = Cell::new(Turn::None);
    /// What comes after this thread's turn.
    static LATER: RefCell<Vec<Box<dyn Queue>>> = RefCell::new(Vec::new());
}

/// Does the steps, of which there is mostly one: now, or when this thread's turn, which is at something
/// else, gets to them. After them, or at once, `last`, of which nothing comes but more steps.
pub(super) fn take<A: EffectRunner>(
    actor: &A,
    first: &mut Option<A::Step>,
    others: &mut Vec<A::Step>,
    last: impl FnOnce(),
) {
    // A thread that is ending has no turn to take.
    let before = TURN.try_with(|turn| {
        let before = turn.get();
        if before == Turn::None {
            turn.set(Turn::Taken);
        }
        before
    });
    if matches!(before, Ok(Turn::Taken | Turn::Followed))
        && (first.is_none() && others.is_empty() || put_behind(actor, first, others))
    {
        return last();
    }
    let mut panic = None;
    go_through(actor, first, &mut panic);
    if !others.is_empty() {
        for step in others.drain(..) {
            go_through(actor, &mut Some(step), &mut panic);
        }
    }
    keep(last, &mut panic);
    if matches!(before, Ok(Turn::None)) {
        while let Some(next) = next::<A>() {
            match next {
                Next::Own(actor, step) => {
                    go_through(&actor, &mut Some(step), &mut panic);
                    // With it perhaps goes the pool.
                    keep(|| drop(actor), &mut panic);
                }
                Next::Other(step) => keep(step, &mut panic),
            }
        }
    }
    match panic {
        // Two at once would end the process.
        Some(panic) if !std::thread::panicking() => resume_unwind(panic),
        _ => {}
    }
}

/// Leaves nothing of the step, which is moved no more than it must be: effects are large.
fn go_through<A: EffectRunner>(actor: &A, step: &mut Option<A::Step>, first: &mut Option<Panic>) {
    let carry_out = || step.take().into_iter().for_each(|step| actor.carry_out(step));
    keep(carry_out, first);
}

/// Keeps the first panic.
fn keep(step: impl FnOnce(), first: &mut Option<Panic>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(step)) {
        *first = first.take().or(Some(panic));
    }
}

/// False: this thread is ending, and there is no later for it.
fn put_behind<A: EffectRunner>(
    actor: &A,
    first: &mut Option<A::Step>,
    others: &mut Vec<A::Step>,
) -> bool {
    let put = LATER.try_with(|later| {
        let mut later = later.borrow_mut();
        if let Some(queue) = later.iter_mut().find_map(|queue| queue.of::<A>()) {
            return extend(queue, actor, first, others);
        }
        let mut queue = Steps::<A>::new();
        extend(&mut queue, actor, first, others);
        later.push(Box::new(Later::<A>(queue)));
    });
    let put = put.is_ok();
    if put {
        let _ = TURN.try_with(|turn| turn.set(Turn::Followed));
    }
    put
}

fn extend<A: EffectRunner>(
    queue: &mut Steps<A>,
    actor: &A,
    first: &mut Option<A::Step>,
    others: &mut Vec<A::Step>,
) {
    if let Some(step) = first.take() {
        queue.push_back((actor.clone(), step));
    }
    if !others.is_empty() {
        queue.extend(others.drain(..).map(|step| (actor.clone(), step)));
    }
}

/// What has come up meanwhile; if that is nothing, the turn is over.
fn next<A: EffectRunner>() -> Option<Next<A>> {
    let next = TURN.try_with(|turn| {
        let next = (turn.get() == Turn::Followed).then(|| {
            LATER.try_with(|later| {
                let mut later = later.borrow_mut();
                let next = next_of(&mut later);
                if later.iter().all(|queue| queue.is_empty()) {
                    turn.set(Turn::Taken);
                }
                next
            })
        });
        let next = next.and_then(|next| next.ok().flatten());
        if next.is_none() {
            turn.set(Turn::None);
        }
        next
    });
    next.ok().flatten()
}

enum Next<A: EffectRunner> {
    Own(A, A::Step),
    Other(Box<dyn FnOnce()>),
}

fn next_of<A: EffectRunner>(later: &mut [Box<dyn Queue>]) -> Option<Next<A>> {
    let own = later.iter_mut().find_map(|queue| queue.of::<A>());
    match own.and_then(pop) {
        Some((actor, step)) => Some(Next::Own(actor, step)),
        None => later.iter_mut().find_map(|queue| queue.pop()).map(Next::Other),
    }
}

fn pop<A: EffectRunner>(steps: &mut Steps<A>) -> Option<(A, A::Step)> {
    let next = steps.pop_front();
    // What came in a crowd leaves nothing behind.
    if steps.is_empty() && steps.capacity() > KEPT {
        *steps = VecDeque::new();
    }
    next
}

/// So many steps a thread keeps room for.
const KEPT: usize = 64;

type Steps<A> = VecDeque<(A, <A as EffectRunner>::Step)>;

/// Steps of actors of one type.
trait Queue: Any {
    /// For a turn that began with actors of another type.
    fn pop(&mut self) -> Option<Box<dyn FnOnce()>>;

    fn is_empty(&self) -> bool;
}

struct Later<A: EffectRunner>(Steps<A>);

impl<A: EffectRunner> Queue for Later<A> {
    fn pop(&mut self) -> Option<Box<dyn FnOnce()>> {
        let (actor, step) = pop(&mut self.0)?;
        Some(Box::new(move || actor.carry_out(step)))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl dyn Queue {
    fn of<A: EffectRunner>(&mut self) -> Option<&mut Steps<A>> {
        let queue: &mut dyn Any = self;
        queue.downcast_mut::<Later<A>>().map(|later| &mut later.0)
    }
}
