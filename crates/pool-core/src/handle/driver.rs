//! Who carries out what the pool decides.

use std::fmt;
use std::sync::Arc;

use crate::effect::{Failure, Mode};
use crate::expiration::BoxExpiration;
use crate::reason::{Reason, Refusal};
use crate::view::{InstanceId, RequestId};

use super::policy::PolicyCell;
use super::{PoolHandle, Runtime};

/// Carries out a pool's effects. Its methods are called outside the pool's lock, on whatever thread
/// caused the effect, and must not block. They may come in any order: an effect for something
/// that is gone must be ignored, and a request assigned to an instance that has ended must be
/// given back with [`InstanceEvent::Returned`](crate::InstanceEvent::Returned).
pub trait Driver: Send + Sync + Sized + 'static {
    /// A request, with all that is needed to answer it.
    type Item: Send + 'static;
    /// What the driver keeps of an instance. Made with [`Default`] under the pool's lock.
    type Slot: Default + Send + Sync + 'static;
    /// Time and tasks.
    type Runtime: Runtime;

    /// The runtime.
    fn runtime(&self) -> &Self::Runtime;

    /// The policy of a new instance.
    fn expiration(&self, id: InstanceId) -> BoxExpiration;

    /// Start an instance. See [`Effect::Start`](crate::state::Effect::Start).
    fn start(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, start: Start<Self::Item>);

    /// Hand a request to a live instance.
    fn assign(
        &self,
        pool: &PoolHandle<Self>,
        instance: Instance<Self>,
        request_id: RequestId,
        item: Self::Item,
    );

    /// Turn a request away.
    fn refuse(&self, request_id: RequestId, item: Self::Item, refusal: Refusal);

    /// Tell a caller that no response will come.
    fn fail(&self, instance: Instance<Self>, request_id: RequestId, failure: Failure);

    /// End an instance.
    fn retire(&self, pool: &PoolHandle<Self>, instance: Instance<Self>, reason: Reason);
}

/// How an instance is to be started.
#[derive(Debug)]
#[non_exhaustive]
pub struct Start<T> {
    /// How it will be driven.
    pub mode: Mode,
    /// The request that it is for, and that is handed over to it with no further call. `None`: it is
    /// not tied to a request.
    pub request: Option<(RequestId, T)>,
}

/// An instance: its name, and what the driver keeps of it.
pub struct Instance<D: Driver> {
    pub(super) id: InstanceId,
    pub(super) cell: Arc<Cell<D>>,
}

impl<D: Driver> Instance<D> {
    /// Its name.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// What the driver keeps of it.
    pub fn slot(&self) -> &D::Slot {
        &self.cell.slot
    }
}

impl<D: Driver> Clone for Instance<D> {
    fn clone(&self) -> Self {
        Self { id: self.id, cell: Arc::clone(&self.cell) }
    }
}

impl<D: Driver> fmt::Debug for Instance<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.id).finish()
    }
}

/// The handle that the state machine keeps for an instance.
pub(super) struct Cell<D: Driver> {
    slot: D::Slot,
    pub(super) policy: PolicyCell,
}

impl<D: Driver> Default for Cell<D> {
    fn default() -> Self {
        Self { slot: D::Slot::default(), policy: PolicyCell::default() }
    }
}
