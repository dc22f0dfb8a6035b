//! What a request is here: something that can be counted, so that none is lost or doubled.

use std::cell::Cell;
use std::rc::Rc;

/// A request's content. Not `Clone`: there is one of it.
#[derive(Debug)]
pub(crate) struct Item {
    alive: Rc<Cell<usize>>,
}

impl Item {
    pub(crate) fn new(alive: &Rc<Cell<usize>>) -> Self {
        alive.set(alive.get() + 1);
        Self { alive: Rc::clone(alive) }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}
