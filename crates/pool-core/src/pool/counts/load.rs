//! How loaded a pool is, and the policies that look at it.

use crate::pool::Pool;
use crate::view::InstanceId;

/// The load of a pool at the moment of a poll.
///
/// A policy that asks for it with [`ExpirationContext::load`](crate::expiration::ExpirationContext::load)
/// is polled again when requests begin to wait or stop waiting, and when the pressure begins or ends; the
/// numbers are those of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Requests in the queue.
    pub queued: usize,
    /// Requests on instances.
    pub running: usize,
    /// Instances with nothing to do.
    pub idle: usize,
    /// Live instances.
    pub live: usize,
    /// Another instance is wanted and cannot be had: the pool, its budget or the allocator is full.
    pub pressure: bool,
}

impl Load {
    /// What brings policies that look at the load back: all else changes with each request.
    pub(crate) fn level(self) -> (bool, bool) {
        (self.queued > 0, self.pressure)
    }
}

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
