//! The versions of a pool's module: the one that is current, and the instances of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use millpond_engine::lock;
use millpond_pool_core::InstanceId;

use crate::module::version::ModuleVersion;

pub(crate) struct VersionRegistry {
    state: Mutex<State>,
}

struct State {
    current: Arc<ModuleVersion>,
    /// Its live instances that the pool knows to have started.
    instances: BTreeSet<InstanceId>,
    /// Those that have started, and of which the pool is about to be told.
    started: BTreeSet<InstanceId>,
}

impl VersionRegistry {
    pub(crate) fn new(current: Arc<ModuleVersion>) -> Self {
        let (instances, started) = Default::default();
        let state = State { current, instances, started };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn current(&self) -> Arc<ModuleVersion> {
        Arc::clone(&lock(&self.state).current)
    }

    /// An instance of this version has started. `false`: it is not the current one any more.
    pub(crate) fn note_start(&self, id: InstanceId, version: &Arc<ModuleVersion>) -> bool {
        let mut state = lock(&self.state);
        let is_current = Arc::ptr_eq(&state.current, version);
        if is_current {
            state.started.insert(id);
        }
        is_current
    }

    /// From here on, it is drained when this version is replaced. `false`: it has been replaced. With a
    /// request, the pool is to know before that it has started: else that one would fail.
    pub(crate) fn register(&self, id: InstanceId) -> bool {
        let mut state = lock(&self.state);
        let is_current = state.started.remove(&id);
        if is_current {
            state.instances.insert(id);
        }
        is_current
    }

    pub(crate) fn unregister(&self, id: InstanceId) {
        let mut state = lock(&self.state);
        state.started.remove(&id);
        state.instances.remove(&id);
    }

    /// Makes another version current, and gives the instances of the one before.
    pub(crate) fn replace(&self, version: Arc<ModuleVersion>) -> BTreeSet<InstanceId> {
        let (before, instances) = {
            let mut state = lock(&self.state);
            let before = std::mem::replace(&mut state.current, version);
            state.started.clear();
            (before, std::mem::take(&mut state.instances))
        };
        // It may be the last to hold compiled code.
        drop(before);
        instances
    }
}
