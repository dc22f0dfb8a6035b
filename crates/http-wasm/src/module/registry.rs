//! The versions of a pool's module: the one that is current, and the instances of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use millpond_engine::lock;
use millpond_pool_core::InstanceId;

use crate::module::version::Generation;

pub(crate) struct Modules {
    state: Mutex<State>,
}

struct State {
    current: Arc<Generation>,
    /// Its live instances that the pool knows to have started.
    instances: BTreeSet<InstanceId>,
    /// Those that have started, and of which the pool is about to be told.
    started: BTreeSet<InstanceId>,
}

impl Modules {
    pub(crate) fn new(current: Arc<Generation>) -> Self {
        let (instances, started) = Default::default();
        let state = State { current, instances, started };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.state).current)
    }

    /// An instance of this version has started. `false`: it is not the current one any more.
    pub(crate) fn note_start(&self, id: InstanceId, generation: &Arc<Generation>) -> bool {
        let mut state = lock(&self.state);
        let is_current = Arc::ptr_eq(&state.current, generation);
        if is_current {
            state.started.insert(id);
        }
        is_current
    }

    /// From here on, it is drained when this version is replaced. `false`: it has been replaced. With a
    /// request, the pool is to know before that it has started: else that one would fail.
    pub(crate) fn enlist(&self, id: InstanceId) -> bool {
        let mut state = lock(&self.state);
        let is_current = state.started.remove(&id);
        if is_current {
            state.instances.insert(id);
        }
        is_current
    }

    pub(crate) fn delist(&self, id: InstanceId) {
        let mut state = lock(&self.state);
        state.started.remove(&id);
        state.instances.remove(&id);
    }

    /// Makes another version current, and gives the instances of the one before.
    pub(crate) fn replace(&self, generation: Arc<Generation>) -> BTreeSet<InstanceId> {
        let (before, instances) = {
            let mut state = lock(&self.state);
            let before = std::mem::replace(&mut state.current, generation);
            state.started.clear();
            (before, std::mem::take(&mut state.instances))
        };
        // It may be the last to hold compiled code.
        drop(before);
        instances
    }
}
