//! The versions of a pool's module: the one that is current, and the instances of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use millpond_engine::lock;
use millpond_pool_core::InstanceId;

use crate::generation::Generation;

pub(crate) struct Modules {
    state: Mutex<State>,
}

struct State {
    current: Arc<Generation>,
    /// Its live instances.
    instances: BTreeSet<InstanceId>,
}

impl Modules {
    pub(crate) fn new(current: Arc<Generation>) -> Self {
        let state = State { current, instances: BTreeSet::new() };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.state).current)
    }

    /// An instance of this version has started. `false`: it is not the current one any more.
    pub(crate) fn enlist(&self, id: InstanceId, generation: &Arc<Generation>) -> bool {
        let mut state = lock(&self.state);
        let is_current = Arc::ptr_eq(&state.current, generation);
        if is_current {
            state.instances.insert(id);
        }
        is_current
    }

    /// Whether the instance is of the current version.
    pub(crate) fn is_enlisted(&self, id: InstanceId) -> bool {
        lock(&self.state).instances.contains(&id)
    }

    pub(crate) fn delist(&self, id: InstanceId) {
        lock(&self.state).instances.remove(&id);
    }

    /// Makes another version current, and gives the instances of the one before.
    pub(crate) fn replace(&self, generation: Arc<Generation>) -> BTreeSet<InstanceId> {
        let (before, instances) = {
            let mut state = lock(&self.state);
            let before = std::mem::replace(&mut state.current, generation);
            (before, std::mem::take(&mut state.instances))
        };
        // It may be the last to hold compiled code.
        drop(before);
        instances
    }
}
