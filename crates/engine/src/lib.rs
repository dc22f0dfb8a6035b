//! What pools on wasmtime have in common, whatever their guests are.
//!
//! [`EngineConfig`] makes an engine: with the pooling allocator and a cache of compiled code.
//! [`start_epoch_ticker`] makes its epochs tick, [`begin_ticks`] makes a store's guest give way at each, [`GuestLimits`] bounds
//! what it may hold, [`Console`] is where what it prints goes, [`HostStream`] where all that is written goes, and
//! [`Tokio`] is the runtime that pool-core asks for.
//!
//! Users of the pools depend on `millpond`. Those who write a backend depend on this crate.

mod build;
mod engine;
mod failed_starts;
mod failure;
mod file;
mod limits;
mod log_rate;
mod output;
mod panic;
mod runtime;
mod sync;
mod ticks;

pub use build::{BuildError, BuildErrorKind, BuilderBase, MakeExpiration};
pub use engine::{CacheChoice, EngineConfig, Guests};
pub use failed_starts::FailedStarts;
pub use failure::{InstantiationError, SharedError, chain, is_exhaustion, log_text, one_line};
pub use file::{DEFAULT_MAX_SIZE, read_file};
pub use limits::{
    Charge, DEFAULT_MAX_MEMORY, GuestLimits, HostLimits, MemoryAccount, MemoryExhausted,
};
pub use log_rate::{LogRate, unlogged};
pub use output::{
    Console, DEFAULT_MAX_OUTPUT, GuestOutput, HostStream, Lost, Output, Tag, cut_output, escape,
    printable,
};
pub use panic::{Panicked, catch_panic};
pub use runtime::Tokio;
pub use sync::lock;
pub use ticks::{Driven, TICK, Ticks, begin_ticks, start_epoch_ticker};
