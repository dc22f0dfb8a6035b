//! The heart of Millpond: who serves what waits, and when does it end?
//!
//! [`state::Pool`] is a state machine for a bounded queue of requests and a bounded set of instances that
//! serve them. It is *sans-IO*: it has no lock, no waker, no clock and no runtime. Everything that
//! happens is told to it with `handle_*`, with the time as an argument; everything it wants done
//! comes out of [`Pool::poll_effect`](state::Pool::poll_effect). So it runs in virtual time, under model checkers, and under
//! any runtime.
//!
//! [`state::Budget`] is a second one, for several pools that share one limit on live instances.
//!
//! [`expiration`] holds the policies that decide when an instance ends, and the trait to write
//! one's own.
//!
//! [`PoolHandle`] is the thin asynchronous layer: the state machine behind one short lock, with
//! permits that are waited for, a reaper that keeps the deadlines, and a [`Driver`] that carries
//! out the effects. A [`Runtime`] brings time and tasks.
//!
//! [`cell`] is for those who write a backend: what several tasks need that drive one instance.
//!
//! The crate depends on nothing but the standard library.

mod arena;
mod budget;
pub mod cell;
mod effect;
mod error;
pub mod expiration;
mod handle;
mod histogram;
mod limits;
mod pool;
mod reason;
mod serve;
mod snapshot;
pub mod state;
mod sync;
mod view;

pub use budget::{BudgetError, BudgetLimits, BudgetSnapshot, MemberId, MemberSnapshot, Share};
pub use effect::{Failure, InstanceEvent, Mode, Usage};
pub use error::{Error, ErrorKind};
pub use handle::{
    DrainOnDrop, Drained, Driver, Instance, Lease, OwnedPermit, PoolHandle, Reserve, Runtime,
    SharedBudget, Start, Submitted, Warmed,
};
pub use histogram::Histogram;
pub use limits::{Limits, MaxRequests};
pub use reason::{Outcome, Reason, Refusal};
pub use serve::Serve;
pub use snapshot::{InstanceGauges, Retirements, Snapshot};
pub use view::{InstanceId, InstanceView, Load, RequestId, Status};
