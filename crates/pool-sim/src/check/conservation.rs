//! Conservation: each submitted request has exactly one outcome, and every gauge says what is so.
//!
//! That an outcome comes twice, or for a request that is elsewhere, the model notices when it applies
//! the record; here they are compared with what the pool counts.

use millpond_pool_core::{InstanceGauges, Snapshot};

use super::{Check, Checked, Step, same};
use crate::model::{Model, Phase, Place};

#[derive(Debug)]
pub(super) struct Conservation;

impl Check for Conservation {
    fn name(&self) -> &'static str {
        "conservation"
    }

    fn step(&mut self, model: &Model, step: &Step<'_>) -> Checked {
        same("queued", step.load.queued, model.queue.len())?;
        same("running", step.load.running, model.running())?;
        same("live", step.load.live, model.live())?;
        same("free permits", step.permits_free, model.permits_free())?;
        step.snapshot.map_or(Ok(()), |snapshot| recount(model, snapshot))
    }
}

fn recount(model: &Model, snapshot: &Snapshot) -> Checked {
    same("unaccounted", snapshot.unaccounted(), 0)?;
    same("submitted", snapshot.submitted, model.submitted)?;
    let ours = model.outcomes;
    same("responded", snapshot.responded, ours.responded)?;
    same("failed", snapshot.failed, ours.failed)?;
    same("refused", snapshot.refused, ours.refused)?;
    same("cancelled", snapshot.cancelled, ours.cancelled)?;
    same("reserved permits", snapshot.permits_reserved, model.reserved)?;
    same("draining", snapshot.draining, model.draining)?;

    let mut places = [0; 6];
    for request in model.requests.values() {
        places[match request.place {
            Place::Queued => 0,
            Place::Starting(_) => 1,
            Place::Busy(_) => 2,
            Place::Pinned(_) => 3,
            Place::Streaming(_) => 4,
            Place::Abandoned(_) => 5,
        }] += 1;
    }
    let Snapshot { queued, starting, busy, pinned, streaming, abandoned, .. } = *snapshot;
    same("requests by stage", [queued, starting, busy, pinned, streaming, abandoned], places)?;
    same("instances by status", &snapshot.instances, &instances(model))
}

fn instances(model: &Model) -> InstanceGauges {
    let mut gauges = InstanceGauges::default();
    for instance in model.instances.values() {
        let places = || instance.requests.iter().filter_map(|request_id| model.place(*request_id));
        *match instance.phase {
            Phase::Starting => &mut gauges.starting,
            Phase::Retiring => &mut gauges.retiring,
            _ if places().any(|p| matches!(p, Place::Busy(_) | Place::Abandoned(_))) => {
                &mut gauges.busy
            }
            _ if places().any(|p| matches!(p, Place::Pinned(_))) => &mut gauges.pinned,
            _ if places().next().is_some() => &mut gauges.streaming,
            _ if instance.working => &mut gauges.post_return,
            _ => &mut gauges.idle,
        } += 1;
    }
    gauges
}
