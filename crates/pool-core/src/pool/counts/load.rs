//! The load that policies see, and those that look at it.

use crate::pool::Pool;
use crate::view::{InstanceId, Load};

impl<T, H: Clone + Default> Pool<T, H> {
    /// How loaded the pool is, as its policies see it.
    pub fn load_now(&self) -> Load {
        Load {
            queued: self.requests.queued(),
            running: self.requests.len() - self.requests.queued(),
            idle: self.gauges.idle(),
            live: self.instances.len(),
            pressure: self.missing_seats() > 0,
        }
    }

    /// Whether an instance's policy looks at the load, and how it was when it did.
    pub(in crate::pool) fn watch_load(
        &mut self,
        id: InstanceId,
        watches: bool,
        seen: (bool, bool),
    ) {
        let Some(instance) = self.instances.get_mut(id.0) else { return };
        let before = std::mem::replace(&mut instance.watches_load, watches);
        if !watches {
            if before {
                self.load_watchers.remove(&id);
            }
            return;
        }
        let level = self.load_now().level();
        if self.load_watchers.is_empty() {
            self.load_level = level;
        }
        self.load_watchers.insert(id);
        // What changed while it was being polled was told to others only.
        if level != seen {
            self.mark_dirty(id);
        }
    }

    #[inline]
    pub(in crate::pool) fn tell_load_watchers(&mut self) {
        if !self.load_watchers.is_empty() {
            self.tell_them();
        }
    }

    fn tell_them(&mut self) {
        let level = self.load_now().level();
        if std::mem::replace(&mut self.load_level, level) != level {
            let watchers = std::mem::take(&mut self.load_watchers);
            watchers.iter().for_each(|id| self.mark_dirty(*id));
            self.load_watchers = watchers;
        }
    }
}
