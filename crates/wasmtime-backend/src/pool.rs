//! The pool of a wasi:http component.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use millpond_pool_core::{
    BudgetError, DrainOnDrop, Drained, Error, Limits, OwnedPermit, PoolHandle, Reserve, Serve,
    Share, Snapshot, Warmed,
};

use crate::build::{self, Builder};
use crate::driver::WasmDriver;
use crate::host::Host;
use crate::instance::reply::{Job, Reply};
use crate::interfaces::HttpVersion;
use crate::response::body::ResponseBody;
use crate::response::future::ResponseFuture;
use crate::run::normalize;
use crate::wasi::WasiHost;

/// A pool of instances of one wasi:http component, 0.2 or 0.3. Clones are the same pool; when the
/// last of them is dropped, it drains.
///
/// To mount it in a server, wrap it in `millpond_tower_adapter::PoolService`; or use it as it is:
///
/// ```no_run
/// use http_body_util::{BodyExt, Empty};
/// use millpond_wasmtime_backend::{WasiHost, WasmPool};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = WasmPool::builder(WasiHost::new())
///     .limits(|limits| limits.max_instances = 8)
///     .from_file("app.wasm")?;
///
/// let permit = pool.reserve().await?; // waits while all places are taken
/// let request = http::Request::get("http://localhost/").body(Empty::new())?;
/// let response = pool.serve(permit, request).await?;
/// println!("{:?}", response.into_body().collect().await?.to_bytes());
///
/// pool.drain().await;
/// # Ok(())
/// # }
/// ```
pub struct WasmPool<H: Host = WasiHost> {
    pool: Arc<DrainOnDrop<WasmDriver<H>>>,
    version: HttpVersion,
}

impl<H: Host> WasmPool<H> {
    /// Makes a pool.
    pub fn builder(host: H) -> Builder<H> {
        Builder::new(host)
    }

    pub(crate) fn new(pool: PoolHandle<WasmDriver<H>>, version: HttpVersion) -> Self {
        Self { pool: Arc::new(pool.into()), version }
    }

    /// The version of wasi:http that its component answers.
    pub fn version(&self) -> HttpVersion {
        self.version
    }

    /// The embedder's side.
    pub fn host(&self) -> &H {
        self.pool.driver().host()
    }

    /// All gauges and counters, of one moment.
    pub fn snapshot(&self) -> Snapshot {
        self.pool.snapshot()
    }

    /// Returns a permit, if there is one now and no other caller waits for one.
    ///
    /// # Errors
    ///
    /// Overloaded or draining.
    pub fn try_reserve(&self) -> Result<OwnedPermit<WasmDriver<H>>, Error> {
        self.pool.try_reserve()
    }

    /// Waits for a permit, first come, first served. Fails only while the pool drains.
    pub fn reserve(&self) -> Reserve<WasmDriver<H>> {
        self.pool.reserve()
    }

    /// Serves a request. Dropping the future cancels it. It is to be polled soon: it drives the guest,
    /// and one that takes several requests at a time gets no others until it has begun with this one.
    pub fn serve<B>(
        &self,
        permit: OwnedPermit<WasmDriver<H>>,
        request: Request<B>,
    ) -> ResponseFuture<H>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        match PreparedRequest::new(request) {
            Ok(PreparedRequest { job, reply, head }) => {
                ResponseFuture::new(self.pool.submit(permit, job), reply, head)
            }
            Err(error) => ResponseFuture::refused(error),
        }
    }

    /// The same without waiting for a place, if there is one now.
    ///
    /// # Errors
    ///
    /// Overloaded or draining.
    pub fn try_serve<B>(&self, request: Request<B>) -> Result<ResponseFuture<H>, Error>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        match PreparedRequest::new(request) {
            Ok(PreparedRequest { job, reply, head }) => {
                let submitted = self.pool.try_submit(job).map_err(|(error, _)| error)?;
                Ok(ResponseFuture::new(submitted, reply, head))
            }
            Err(error) => Ok(ResponseFuture::refused(error)),
        }
    }

    /// Requests between submission and the end of their body.
    pub fn load(&self) -> usize {
        self.pool.load()
    }

    /// Waits until the profiles and core dumps of its instances that are gone are written, but not
    /// longer than 5 s for a slow disk.
    pub async fn records_written(&self) {
        self.pool.driver().records().written().await;
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.pool.limits()
    }

    /// Changes the limits of the running pool. New instances follow at once, old ones on their
    /// next decision; no request is lost by it. More instances than the pool was made for start
    /// only if the allocator has room for them.
    pub fn set_limits(&self, mut limits: Limits) {
        build::clamp(self.version, &mut limits);
        self.pool.set_limits(limits);
    }

    /// Changes the pool's part in its budget; without one, does nothing.
    ///
    /// # Errors
    ///
    /// If the guarantees of the budget's pools together would be more than it has.
    pub fn set_share(&self, mut share: Share) -> Result<(), BudgetError> {
        if share.memory == 0 {
            share.memory = self.host().max_memory();
        }
        self.pool.set_share(share)
    }

    /// Whether as many instances have started as spares are to be kept, or there is nothing to wait for.
    pub fn is_warmed(&self) -> bool {
        self.pool.is_warmed()
    }

    /// Ends when as many instances have started as spares are to be kept ([`Limits::min_idle`]), also if
    /// requests have taken some of them, or when the pool drains: the time to report readiness. Without
    /// spares, that is now. Where the allocator or a budget holds fewer, it ends when that changes.
    pub fn warmed(&self) -> Warmed<WasmDriver<H>> {
        self.pool.warmed()
    }

    /// Takes no more requests, serves what was submitted, and ends all instances. The future ends
    /// when that is done; the drain goes on without it.
    pub fn drain(&self) -> Drained<WasmDriver<H>> {
        self.pool.drain()
    }

    /// Cuts a drain short: refuses what waits and stops what runs.
    pub fn stop(&self) {
        self.pool.stop();
    }
}

/// A request, made fit for a guest, and where its answer arrives.
struct PreparedRequest<H: Host> {
    job: Job<H>,
    reply: Arc<Reply<H>>,
    /// Whether its answer has no body.
    head: bool,
}

impl<H: Host> PreparedRequest<H> {
    fn new<B>(request: Request<B>) -> Result<Self, Error>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let request = normalize::normalize(request)?;
        let head = request.method() == Method::HEAD;
        let request = request.map(|body| body.map_err(normalize::body_error).boxed_unsync());
        let reply = Reply::new();
        Ok(Self { job: Job::new(request, Arc::clone(&reply)), reply, head })
    }
}

impl<H, B> Serve<Request<B>> for WasmPool<H>
where
    H: Host,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<ResponseBody<H>>;
    type Error = Error;
    type Permit = OwnedPermit<WasmDriver<H>>;
    type Reserve = Reserve<WasmDriver<H>>;
    type Future = ResponseFuture<H>;

    fn try_reserve(&self) -> Result<Self::Permit, Error> {
        self.try_reserve()
    }

    fn reserve(&self) -> Self::Reserve {
        self.reserve()
    }

    fn serve(&self, permit: Self::Permit, request: Request<B>) -> ResponseFuture<H> {
        self.serve(permit, request)
    }

    fn try_serve(&self, request: Request<B>) -> Result<ResponseFuture<H>, Error> {
        self.try_serve(request)
    }

    fn record_rejection(&self) {
        self.pool.record_rejection();
    }

    fn load(&self) -> usize {
        self.load()
    }
}

impl<H: Host> Clone for WasmPool<H> {
    fn clone(&self) -> Self {
        Self { pool: Arc::clone(&self.pool), version: self.version }
    }
}

impl<H: Host> fmt::Debug for WasmPool<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmPool").field("version", &self.version).finish_non_exhaustive()
    }
}
