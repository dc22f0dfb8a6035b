//! The middleware as a tower service: a request goes to a guest, on to the inner service, and its response back
//! through the guest.

pub(crate) mod body;
pub(crate) mod handle;
pub(crate) mod layer;
pub(crate) mod second_call;
