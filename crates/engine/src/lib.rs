//! What pools on wasmtime have in common, whatever their guests are.
//!
//! [`Needs`] makes an engine: with the pooling allocator, epochs that tick, and a cache of compiled code.
//! [`begin_ticks`] makes a store's guest give way at each tick, [`GuestLimits`] bounds what it may
//! hold, [`Console`] is where what it prints goes, and [`Tokio`] is the runtime that pool-core asks for.
//!
//! This crate is a part of `millpond`, which is what to depend on.

mod engine;
mod failure;
mod limits;
mod output;
mod panic;
mod runtime;
mod sync;
mod ticks;

pub use engine::{CacheChoice, Guests, Needs};
pub use failure::{Cause, InstantiationError, chain, one_line};
pub use limits::{DEFAULT_MAX_MEMORY, GuestLimits};
pub use output::{Console, GuestOutput, Output, Tag};
pub use panic::{Panicked, catch_panic};
pub use runtime::Tokio;
pub use sync::{keep, lock};
pub use ticks::{TICK, begin_ticks, tick};
