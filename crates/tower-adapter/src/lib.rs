//! A pool as a [`tower::Service`], with whatever backend behind it.
//!
//! [`PoolService`] keeps tower's contract: `poll_ready` reserves a permit, and waits while there
//! is none. That is the backpressure that middleware such as load shedding sees.
//! [`InfallibleService`] is for servers that never wait, as axum's router: it is always ready, and
//! turns what goes wrong into [responses](response).
//!
//! [`Ingress`] is for the outermost place: it decides what a request is before any handler sees it.
//!
//! The services serve any [`Serve`](millpond_pool_core::Serve); the `millpond` crate has one for WebAssembly.

mod infallible;
pub mod ingress;
pub mod response;
mod service;

pub use infallible::{InfallibleFuture, InfallibleService};
pub use ingress::{Ingress, SourceAddr};
pub use service::PoolService;
