//! No orphan: a request that waits always has an instance that will take it.
//!
//! That is: seats that are about to be there; or as many instances as may be, all with something to
//! do; or a budget that was asked for more; or a full allocator that will be tried again. That all of
//! this leads to an end is checked at the end of each run, when guests behave: see
//! [`world`](crate::world).

use super::{Check, Checked, Step, hold};
use crate::agenda::{SECOND, Time};
use crate::model::{Model, Phase};
use crate::record::{Event, Record};

/// A full allocator is tried again within this.
const PROBE_WITHIN: Time = SECOND;

#[derive(Debug, Default)]
pub(super) struct NoOrphan {
    was_full: bool,
}

impl Check for NoOrphan {
    fn name(&self) -> &'static str {
        "no-orphan"
    }

    fn record(&mut self, _: &Model, _: Time, record: &Record) -> Checked {
        self.was_full |= matches!(record, Record::Event(_, Event::Exhausted(_)));
        Ok(())
    }

    fn step(&mut self, model: &Model, step: &Step<'_>) -> Checked {
        let wanting = model.wanting();
        if wanting == 0 {
            return Ok(());
        }
        let free = model.instances.iter().find(|(_, instance)| {
            instance.phase == Phase::Open
                && model.takes_more(instance)
                && instance.settling.is_none()
                && model.seats_left(instance) > 0
        });
        hold!(free.is_none(), "{wanting} wait, and {:?} has room", free.map(|(id, _)| id));
        let missing = wanting.saturating_sub(model.coming());
        let most = model.limits.max_instances.saturating_sub(model.live());
        if missing == 0 || most == 0 {
            return Ok(());
        }
        let soon = step.timeout.is_some_and(|at| at <= step.latest + PROBE_WITHIN);
        let probed = self.was_full && soon;
        let Some(claim) = model.claim else {
            let (live, max) = (model.live(), model.limits.max_instances);
            hold!(probed, "{missing} wait in vain, and {live} of {max} instances live");
            return Ok(());
        };
        let shared = model.limits.concurrency > 1 && model.quota.most != Some(1);
        let seats = if shared { model.limits.concurrency } else { 1 };
        let wanted = missing.div_ceil(seats).min(most);
        let asked = claim.wanted + claim.starved;
        hold!(asked >= wanted, "{wanted} instances are wanted, the budget is asked for {asked}");
        // One that was asked for finds out whether the allocator is still full.
        let tried = claim.wanted > 0 || probed;
        hold!(claim.starved == 0 || tried, "{} are starved, no probe is planned", claim.starved);
        Ok(())
    }
}
