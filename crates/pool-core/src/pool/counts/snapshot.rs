//! All counts of a pool at one moment.

use crate::pool::Pool;
use crate::pool::instance::Phase;
use crate::pool::request::Stage;
use crate::snapshot::Snapshot;
use crate::view::Status;

impl<T, H: Clone + Default> Pool<T, H> {
    /// All gauges and counters. Takes time in proportion to requests and instances.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.counters.clone();
        snapshot.draining = self.draining;
        snapshot.permits_free = self.permits_free();
        snapshot.permits_reserved = self.reserved;
        snapshot.spares = self.gauges.spares();
        snapshot.pressure = self.missing_seats() > 0;
        for stage in self.requests.stages() {
            *match stage {
                Stage::Queued { .. } => &mut snapshot.queued,
                Stage::Starting { .. } => &mut snapshot.starting,
                Stage::Busy { .. } => &mut snapshot.busy,
                Stage::Pinned { .. } => &mut snapshot.pinned,
                Stage::Streaming { .. } => &mut snapshot.streaming,
                Stage::Abandoned { .. } => &mut snapshot.abandoned,
            } += 1;
        }
        let instances = &mut snapshot.instances;
        for (_, instance) in self.instances.iter() {
            *match (instance.phase, instance.status) {
                (Phase::Starting, _) => &mut instances.starting,
                (Phase::Retiring(_), _) => &mut instances.retiring,
                (_, Status::Busy) => &mut instances.busy,
                (_, Status::Pinned) => &mut instances.pinned,
                (_, Status::Streaming) => &mut instances.streaming,
                (_, Status::PostReturn) => &mut instances.post_return,
                (_, Status::Idle) => &mut instances.idle,
            } += 1;
        }
        snapshot
    }
}
