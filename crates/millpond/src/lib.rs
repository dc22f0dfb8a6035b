//! Serve HTTP from pools of WebAssembly instances.
//!
//! ```no_run
//! use axum::{Router, routing::get, serve::ListenerExt};
//! use millpond::{InfallibleService, WasiHost, WasmPool};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = WasmPool::builder(WasiHost::new())
//!     .limits(|limits| limits.max_instances = 100)
//!     .from_file("app.wasm")?;
//!
//! let app = Router::new()
//!     .route("/native", get(|| async { "answered by Rust\n" }))
//!     .fallback_service(InfallibleService::new(pool));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! // Else what follows a response head waits for the client's delayed acknowledgement: 40 ms.
//! let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! * [`WasmPool`] is a pool of instances of one wasi:http component, 0.2 or 0.3.
//! * [`PoolService`] mounts it in tower middleware, with backpressure; [`InfallibleService`] in axum.
//! * [`Ingress`] is the outermost layer: it decides what a request is before any handler sees it.
//! * [`HttpWasmLayer`](http_wasm::HttpWasmLayer) puts http-wasm guests in front of any service, from a pool of their own.
//! * [`expiration`] has the policies that decide when an instance ends; write your own with
//!   [`InstanceExpiration`](expiration::InstanceExpiration).
//! * [`Host`] is for embedders with store data, imports or hooks of their own.
//!
//! The wasmtime it is built on is [`wasmtime`](mod@wasmtime).

pub use millpond_pool_core::{
    BudgetError, BudgetLimits, BudgetSnapshot, Drained, Error, ErrorKind, Histogram,
    InstanceGauges, InstanceId, InstanceView, Limits, Load, MaxRequests, MemberId, MemberSnapshot,
    OwnedPermit, Reason, RequestId, Reserve, Retirements, Serve, Share, SharedBudget, Snapshot,
    Status, Usage, Warmed, expiration,
};

#[cfg(feature = "http-wasm")]
pub use millpond_http_wasm as http_wasm;

#[cfg(feature = "tower")]
pub use millpond_tower_adapter::{
    InfallibleService, Ingress, PoolService, SourceAddr, ingress, response,
};

#[cfg(feature = "wasmtime")]
pub use millpond_wasmtime_backend::{
    BodyError, BuildError, BuildErrorKind, Builder, DEFAULT_MAX_MEMORY, DEFAULT_MAX_OUTPUT,
    Destination, Ended, GuestIo, GuestIoUsage, Host, HostLimits, HostStream, HttpVersion,
    InstantiationError, Interfaces, InterfacesError, LogRate, Lost, MemoryAccount, MemoryError,
    MemoryExhausted, MemorySource, MemoryWatch, Output, ParseDestinationError, RecordCounts,
    RecordLimits, RequestStart, ResponseBody, ResponseFuture, StoreData, WasiHost, WasmDriver,
    WasmPool, cut_output, escape, system_memory, unlogged, wasmtime, wasmtime_wasi,
    wasmtime_wasi_http,
};
