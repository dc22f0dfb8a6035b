//! http-wasm guests as tower middleware.
//!
//! An [http-wasm] guest is a core WebAssembly module that wraps a handler: its `handle_request` sees a request
//! first, and answers it or lets it pass, changed or not; its `handle_response` sees what the next handler
//! answered. [`HttpWasmPool`] keeps a bounded pool of its instances, and [`HttpWasmLayer`] puts them in front of
//! any [`tower::Service`].
//!
//! # What a guest can rely on
//!
//! Both halves of a request run in the same instance, and no other request does in between: the instance stays
//! *pinned*, idle but counted, while the next handler works. A guest that trapped, that exited, or whose
//! request was given up in the middle is never used again. A guest whose `handle_response` has no code is not
//! kept for it.
//!
//! All 19 functions of the `http_handler` module are there, the features `buffer_request`, `buffer_response` and
//! `trailers`, and WASI preview 1 (no files, no environment but `INSTANCE_ID`, an output that is bounded) for guests that import it.
//!
//! # Where the published text leaves things open
//!
//! As the reference host `http-wasm-host-go` does:
//!
//! - `next` is yes if any of the lower 32 bits of `handle_request`'s result is set.
//! - `enable_features` returns what is enabled, not what is supported; while the guest starts it is for all requests,
//!   in `handle_request` for that one. Unknown features are not enabled. In `handle_response` it is
//!   too late for any.
//! - Request trailers and response trailers can be read and set without the feature `trailers`.
//! - After the next handler, changing the request traps; changing the response, and reading its body, traps without
//!   `buffer_response`. The request's body can be read again then, with `buffer_request`, as far as the guest has
//!   read it before.
//! - `read_body` fills the buffer or reaches the end, and says in the same call that it did; a limit of 0 traps.
//! - The first `write_body` of a half replaces the whole body. What the guest wrote to the response before the next
//!   handler comes before what that one answers, unless `handle_response` writes.
//! - `_initialize` or `_start` runs after the module's own start function; `proc_exit(0)` in it is a good end.
//! - `get_source_addr` is empty if the server does not say whom a request is from.
//!
//! Otherwise than the reference host:
//!
//! - Without `buffer_response`, `handle_response` is called when the response has ended: before its head is sent if
//!   the body is all there, or else before its last piece is. A guest that fails then breaks the body off. With a
//!   known length it has ended when so many bytes have come; trailers after them pass unseen. A client that
//!   takes nothing for `body_stall_timeout` loses its guest, and with it the response; a next handler that is
//!   silent loses nothing. The status can be read without buffering.
//! - A status that the guest set before the next handler stays, whatever that one answers, as do its headers, except
//!   that a header of the same name replaces them; to `set-cookie`, `vary`, `link`, `via`, `warning`,
//!   `server-timing` and the two `authenticate` fields, it is added.
//! - Buffers are [bounded](HttpWasmBuilder::max_body): a guest that writes more traps, one that reads more is ended
//!   and its client told 413, a response that is more is 502. So are [all of them together](BufferBudget): what finds no
//!   room is 503.
//! - What a guest sets is bounded too, and what is beyond traps: 1 MiB of headers for each request (each change,
//!   removals too, counts 32 bytes more than it says), 4000 fields in a map, 256 bytes of a method, 64 KiB of a URI. A
//!   line of its log is cut at 8 KiB, and control characters in it are escaped.
//! - What a guest says of `content-length` and `transfer-encoding` counts for nothing, except for the length in an
//!   answer of its own to HEAD: the host frames what it sends. An answer of the next handler that is not as long as its
//!   content-length says is a failure: 502, or a body that breaks off where the head is out.
//! - A guest that reads the request's body waits for the client in its own time: one too slow for `request_timeout`
//!   gets 504, and the guest ends.
//! - A URI with characters that no request line can have is percent-encoded.
//! - If the next handler fails, the guest is told, and its failure goes on to the caller of the service.
//!
//! [http-wasm]: https://http-wasm.io/

mod build;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod instance;
mod message;
mod module;
mod pool;
mod service;

pub use build::{DEFAULT_MAX_BODY, HttpWasmBuilder};
pub use instance::driver::GuestDriver;
pub use message::budget::{BufferBudget, DEFAULT_MAX_BUFFER};
pub use message::forward::RequestBody;
pub use millpond_engine::{BuildError, BuildErrorKind, DEFAULT_MAX_MEMORY, MemoryAccount, Output};
pub use millpond_pool_core::{Drained, Limits, MaxRequests, Reason, Snapshot, Warmed, expiration};
pub use millpond_tower_adapter::SourceAddr;
pub use pool::HttpWasmPool;
pub use service::body::ResponseBody;
pub use service::layer::{HttpWasmLayer, HttpWasmService};
