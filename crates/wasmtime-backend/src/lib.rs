//! Pools of wasi:http components on wasmtime.
//!
//! [`WasmPool`] is the pool: made from a component by its [`Builder`], it serves
//! `http::Request`s. `millpond-pool-core` decides, this crate carries out: it compiles and links
//! (`build`, `interfaces`), keeps each instance's guest in a slot (`instance`), drives
//! it in its request's own future or as a worker for several requests (`run`), and
//! sees to it that bodies end honestly (`response`). What an instance leaves behind for those who look
//! into it, `record` writes.
//!
//! What a guest may do, and what the embedder learns of it, is up to a [`Host`].

mod build;
mod driver;
mod effects;
mod host;
mod instance;
mod interfaces;
mod memory_watch;
mod pool;
mod records;
mod response;
mod run;
mod wasi;

pub use build::Builder;
pub use driver::WasmDriver;
pub use host::{Ended, Host, RequestStart};
pub use instance::body_cell::BodyError;
pub use interfaces::{HttpVersion, Interfaces, InterfacesError};
pub use memory_watch::{MemoryError, MemorySource, MemoryWatch, system_memory};
pub use millpond_engine::{
    BuildError, BuildErrorKind, DEFAULT_MAX_MEMORY, DEFAULT_MAX_OUTPUT, HostLimits, HostStream,
    InstantiationError, LogRate, Lost, MemoryAccount, MemoryExhausted, Output, Tokio, cut_output,
    escape, unlogged,
};
pub use millpond_pool_core::{
    BudgetError, BudgetLimits, BudgetSnapshot, Drained, Error, ErrorKind, Histogram, InstanceId,
    Limits, Load, MaxRequests, OwnedPermit, Reason, RequestId, Reserve, Serve, Share, SharedBudget,
    Snapshot, Usage, Warmed, expiration,
};
pub use pool::WasmPool;
pub use records::{RecordCounts, RecordLimits};
pub use response::body::ResponseBody;
pub use response::future::ResponseFuture;
pub use wasi::{Destination, GuestIo, GuestIoUsage, ParseDestinationError, StoreData, WasiHost};
pub use wasmtime;
pub use {wasmtime_wasi, wasmtime_wasi_http};
