//! Pools to break, requests to break them with, and a host that watches.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::{Channel, Sender};
use millpond::wasmtime::{self, ResourceLimiter, Store};
use millpond::wasmtime_wasi::{WasiCtxView, WasiView};
use millpond::wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};
use millpond::{
    Builder, Ended, Host, HttpVersion, InstanceId, Limits, MaxRequests, Output, Reason,
    RequestStart, Snapshot, StoreData, Usage, WasiHost, WasmPool,
};
use millpond_tests::{Client, PATIENCE, Protocol, Reply, Server, pool_of, until, whole};
use tokio::task::JoinHandle;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The ways in which guests are driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// wasi:http 0.2, an instance for each request.
    P2Fresh,
    /// wasi:http 0.2, one request after another on an instance.
    P2Reused,
    /// wasi:http 0.3, an instance for each request.
    P3Exclusive,
    /// wasi:http 0.3, 16 requests at a time on an instance.
    P3Shared,
}

pub(crate) fn p2_fresh() -> Setup {
    Setup::P2Fresh
}

pub(crate) fn p2_reused() -> Setup {
    Setup::P2Reused
}

pub(crate) fn p3_exclusive() -> Setup {
    Setup::P3Exclusive
}

pub(crate) fn p3_shared() -> Setup {
    Setup::P3Shared
}

/// Makes tests of an `async fn` that takes a [`Setup`]: one for each setup, or for those named.
macro_rules! setups {
    ($name:ident) => {
        setups!($name: p2_fresh p2_reused p3_exclusive p3_shared);
    };
    ($name:ident: $($setup:ident)+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $setup() {
                    super::$name(crate::setup::$setup()).await;
                }
            )+
        }
    };
}

impl Setup {
    pub(crate) fn version(self) -> HttpVersion {
        match self {
            Self::P2Fresh | Self::P2Reused => HttpVersion::P2,
            Self::P3Exclusive | Self::P3Shared => HttpVersion::P3,
        }
    }

    pub(crate) fn is_shared(self) -> bool {
        self == Self::P3Shared
    }

    /// Whether an instance serves more than one request in its life.
    pub(crate) fn is_reused(self) -> bool {
        matches!(self, Self::P2Reused | Self::P3Shared)
    }

    pub(crate) fn limits(self, limits: &mut Limits) {
        limits.max_instances = 8;
        limits.max_requests = match self.is_reused() {
            true => MaxRequests::unlimited(),
            false => MaxRequests::exactly(1),
        };
        limits.concurrency = if self.version() == HttpVersion::P3 { 16 } else { 1 };
        // Long, so that a slow machine does not start another instance for the next request.
        limits.settle_time = SECOND;
    }

    /// A server of the test guest in this setup, with 8 instances and these changes.
    pub(crate) async fn serve(
        self,
        change: impl FnOnce(&mut Limits) + Send + 'static,
    ) -> Server<WasiHost> {
        self.serve_with(|builder| builder.limits(change)).await
    }

    pub(crate) async fn serve_with(
        self,
        change: impl FnOnce(Builder<WasiHost>) -> Builder<WasiHost>,
    ) -> Server<WasiHost> {
        self.serve_host(WasiHost::new().output(Output::None), change).await
    }

    pub(crate) async fn serve_host<H: Host>(
        self,
        host: H,
        change: impl FnOnce(Builder<H>) -> Builder<H>,
    ) -> Server<H> {
        Server::start(self.pool(host, change).await).await
    }

    pub(crate) async fn pool<H: Host>(
        self,
        host: H,
        change: impl FnOnce(Builder<H>) -> Builder<H>,
    ) -> WasmPool<H> {
        let builder = WasmPool::builder(host).limits(move |limits| self.limits(limits));
        pool_of(self.version(), change(builder)).await
    }
}

/// One instance with one seat, whatever the setup. A shared one has two: with one it would be
/// exclusive.
pub(crate) fn one_instance(setup: Setup) -> impl FnOnce(&mut Limits) + Send + 'static {
    move |limits| {
        limits.max_instances = 1;
        if setup.is_shared() {
            limits.concurrency = 2;
        }
    }
}

/// A request that goes on while the test does something else.
pub(crate) struct Sent(JoinHandle<Reply>);

impl Sent {
    /// GET, on a connection of its own.
    pub(crate) fn get<H: Host>(server: &Server<H>, path: &str) -> Self {
        Self::get_over(server, Protocol::Http1, path)
    }

    pub(crate) fn get_over<H: Host>(server: &Server<H>, protocol: Protocol, path: &str) -> Self {
        let (addr, path) = (server.addr, path.to_owned());
        Self(tokio::spawn(async move { Client::connect(addr, protocol).await.get(&path).await }))
    }

    /// The answer.
    pub(crate) async fn reply(self) -> Reply {
        self.0.await.expect("the request's task does not panic")
    }

    /// The client closes its connection.
    pub(crate) fn leave(self) {
        self.0.abort();
    }
}

/// A request that its guest works on until the test lets it go: its body does not end.
pub(crate) struct Held {
    body: Sender<Bytes, Infallible>,
    reply: JoinHandle<Reply>,
}

impl Held {
    /// Sends it, and waits until it is on a guest.
    pub(crate) async fn hold<H: Host>(server: &Server<H>) -> Self {
        let busy = server.pool.snapshot().busy;
        let held = Self::send(server);
        server.until("the request is on a guest", |now| now.busy == busy + 1).await;
        held
    }

    /// Sends it.
    pub(crate) fn send<H: Host>(server: &Server<H>) -> Self {
        Self::send_to(server, "/drain")
    }

    /// Sends it to another route that reads the body to its end.
    pub(crate) fn send_to<H: Host>(server: &Server<H>, path: &'static str) -> Self {
        let addr = server.addr;
        let (body, channel) = Channel::new(1);
        let reply = tokio::spawn(async move {
            let mut client = Client::connect(addr, Protocol::Http1).await;
            let request = client.request(path).method("POST").body(channel.boxed());
            let response = client.send(request.expect("a good request")).await;
            whole(response.expect("a response")).await
        });
        Self { body, reply }
    }

    /// Ends its body, so that its guest answers.
    pub(crate) async fn let_go(self) -> Reply {
        drop(self.body);
        self.reply.await.expect("the request's task does not panic")
    }

    /// The answer, without an end of the body.
    pub(crate) async fn reply(self) -> Reply {
        let _body = self.body;
        self.reply.await.expect("the request's task does not panic")
    }
}

/// Waits until no guest has anything to do: an answer can be read before its guest is given back,
/// and the next request would get another.
pub(crate) async fn all_idle<H: Host>(server: &Server<H>) {
    server.until("all are idle", |now| now.instances.idle == now.instances.live()).await;
}

/// Fills all seats of a pool made with [`one_instance`].
pub(crate) async fn hold_all<H: Host>(setup: Setup, server: &Server<H>) -> Vec<Held> {
    let mut held = vec![Held::hold(server).await];
    if setup.is_shared() {
        held.push(Held::hold(server).await);
    }
    held
}

/// Sends requests until the one instance there is takes no more, and another has been started.
pub(crate) async fn until_another_starts<H: Host>(server: &Server<H>) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.pool.snapshot().starts == 1 {
        assert!(tokio::time::Instant::now() < deadline, "it takes requests still");
        assert_answer(&server.get("/hello").await, "hello\n");
    }
}

/// Asserts what a failure looks like to a client.
#[track_caller]
pub(crate) fn assert_failure(reply: &Reply, status: u16, error: &str, details: &str) {
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    assert_eq!(
        reply.headers["proxy-status"],
        format!("millpond; error={error}; details=\"{details}\"")
    );
    assert_eq!(reply.text(), format!("{details}\n"), "nothing but this reaches the client");
    assert!(!reply.broken);
}

/// Asserts that a guest answered, wholly.
#[track_caller]
pub(crate) fn assert_answer(reply: &Reply, text: &str) {
    assert_eq!((reply.status.as_u16(), reply.text(), reply.broken), (200, text, false));
}

/// Drains the pool, and asserts that nothing is left and everything was counted.
pub(crate) async fn drain<H: Host>(server: &Server<H>) -> Snapshot {
    let drained = tokio::time::timeout(PATIENCE, server.pool.drain());
    drained.await.expect("the drain ends");
    server.pool.records_written().await;
    let now = server.pool.snapshot();
    assert_eq!((now.queued, now.starting, now.busy, now.streaming, now.abandoned), (0, 0, 0, 0, 0));
    assert_eq!((now.permits_reserved, now.permits_free), (0, 0));
    assert_eq!(now.instances, millpond::InstanceGauges::default());
    assert_eq!(now.submitted, now.responded + now.failed + now.refused + now.cancelled);
    assert_eq!(now.retired.total(), now.starts);
    now
}

/// What a [`Recorder`] saw. Instances and requests are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Started { instance: u64 },
    Request { instance: u64, request_id: u64, alone: bool },
    Retired { instance: u64, reason: Reason, error: bool },
}

/// Something to do at a hook, for the instance with this number.
pub(crate) type Mischief = Box<dyn Fn(u64) + Send + Sync>;

/// A host that records what its hooks see, and that can be told to misbehave.
pub(crate) struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// In `data`: an error fails the start.
    pub(crate) at_data: Box<dyn Fn(u64) -> wasmtime::Result<()> + Send + Sync>,
    pub(crate) at_start: Mischief,
    /// Is given the request's number.
    pub(crate) at_request: Mischief,
    pub(crate) at_retire: Mischief,
    pub(crate) at_drop: Arc<dyn Fn(u64) + Send + Sync>,
}

/// What a [`Recorder`] has seen so far.
#[derive(Clone)]
pub(crate) struct Record(Arc<Mutex<Vec<Seen>>>);

impl Recorder {
    pub(crate) fn new() -> (Self, Record) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorder = Self {
            seen: Arc::clone(&seen),
            at_data: Box::new(|_| Ok(())),
            at_start: Box::new(|_| ()),
            at_request: Box::new(|_| ()),
            at_retire: Box::new(|_| ()),
            at_drop: Arc::new(|_| ()),
        };
        (recorder, Record(seen))
    }

    fn see(&self, seen: Seen) {
        self.seen.lock().expect("no panic under this lock").push(seen);
    }
}

impl Record {
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().expect("no panic under this lock").clone()
    }

    /// The requests that guests were given.
    pub(crate) fn requests(&self) -> Vec<u64> {
        let request_id = |seen| match seen {
            Seen::Request { request_id, .. } => Some(request_id),
            _ => None,
        };
        self.all().into_iter().filter_map(request_id).collect()
    }

    /// Waits until it has seen `count` retirements, and gives them.
    pub(crate) async fn retired(&self, count: usize) -> Vec<(u64, Reason, bool)> {
        let retired = |seen| match seen {
            Seen::Retired { instance, reason, error } => Some((instance, reason, error)),
            _ => None,
        };
        until("the hook sees the retirements", || {
            let all: Vec<_> = self.all().into_iter().filter_map(retired).collect();
            (all.len() >= count).then_some(all)
        })
        .await
    }
}

/// The data of a [`Recorder`]'s store, which knows whose it is.
pub(crate) struct Data {
    store: StoreData,
    instance: u64,
    at_drop: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Drop for Data {
    fn drop(&mut self) {
        (self.at_drop)(self.instance);
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.store.ctx()
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.store.http()
    }
}

impl Host for Recorder {
    type Data = Data;

    fn data(&self, id: InstanceId) -> wasmtime::Result<Data> {
        let instance = id.number();
        (self.at_data)(instance)?;
        let at_drop = Arc::clone(&self.at_drop);
        Ok(Data { store: StoreData::default(), instance, at_drop })
    }

    fn limiter(data: &mut Data) -> &mut dyn ResourceLimiter {
        data.store.limiter()
    }

    fn usage(data: &mut Data) -> Usage {
        data.store.usage()
    }

    fn on_instance_start(&self, id: InstanceId, store: &mut Store<Data>) {
        let instance = id.number();
        assert_eq!(store.data().instance, instance, "the store is the instance's own");
        self.see(Seen::Started { instance });
        (self.at_start)(instance);
    }

    fn on_request_start(&self, start: RequestStart<'_, Data>) {
        let (instance, request_id) = (start.id.number(), start.request_id.number());
        assert_eq!(start.store.data().instance, instance, "the store is the instance's own");
        self.see(Seen::Request { instance, request_id, alone: start.alone });
        (self.at_request)(request_id);
    }

    fn on_retire(&self, ended: Ended<'_, Data>) {
        let instance = ended.id.number();
        assert_eq!(ended.store.data().instance, instance, "the store is the instance's own");
        let (reason, error) = (ended.reason, ended.error.is_some());
        self.see(Seen::Retired { instance, reason, error });
        (self.at_retire)(instance);
    }
}
