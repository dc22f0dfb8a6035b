//! Effects as the pool keeps them: small, since each is moved several times. What is large and
//! seldom is in a box.

use std::sync::Arc;

use crate::budget::Claim;
use crate::effect::{Effect, Failure, Mode};
use crate::expiration::Asked;
use crate::limits::Limits;
use crate::reason::{Reason, Refusal};
use crate::view::Load;
use crate::view::{InstanceId, InstanceView, RequestId};

/// What [`Effect`] says of each holds here too.
#[derive(Debug)]
pub(crate) enum Action<T, H> {
    Start { id: InstanceId, handle: H, mode: Mode, request: Option<(RequestId, T)> },
    Assign { id: InstanceId, handle: H, request_id: RequestId, item: T },
    Refuse { request_id: RequestId, item: T, refusal: Refusal },
    Fail { id: InstanceId, handle: H, request_id: RequestId, failure: Failure },
    Retire { id: InstanceId, handle: H, reason: Reason },
    Gone { handle: H },
    Discard { item: T },
    Poll(Box<ToPoll<H>>),
    Claim(Box<Claim>),
}

/// What [`Effect::Poll`] has.
#[derive(Debug)]
pub(crate) struct ToPoll<H> {
    pub(crate) handle: H,
    pub(crate) view: InstanceView,
    pub(crate) limits: Arc<Limits>,
    pub(crate) load: Load,
    pub(crate) asked: Asked,
    pub(crate) revision: u64,
}

impl<T, H> From<Action<T, H>> for Effect<T, H> {
    fn from(action: Action<T, H>) -> Self {
        match action {
            Action::Start { id, handle, mode, request } => {
                Self::Start { id, handle, mode, request }
            }
            Action::Assign { id, handle, request_id, item } => {
                Self::Assign { id, handle, request_id, item }
            }
            Action::Refuse { request_id, item, refusal } => {
                Self::Refuse { request_id, item, refusal }
            }
            Action::Fail { id, handle, request_id, failure } => {
                Self::Fail { id, handle, request_id, failure }
            }
            Action::Retire { id, handle, reason } => Self::Retire { id, handle, reason },
            Action::Gone { handle } => Self::Gone { handle },
            Action::Discard { item } => Self::Discard { item },
            Action::Poll(poll) => (*poll).into(),
            Action::Claim(claim) => Self::Claim(*claim),
        }
    }
}

impl<T, H> From<ToPoll<H>> for Action<T, H> {
    #[inline]
    fn from(poll: ToPoll<H>) -> Self {
        Self::Poll(Box::new(poll))
    }
}

impl<T, H> From<ToPoll<H>> for Effect<T, H> {
    #[inline]
    fn from(poll: ToPoll<H>) -> Self {
        let ToPoll { handle, view, limits, load, asked, revision } = poll;
        Self::Poll { handle, view, limits, load, asked, revision }
    }
}
