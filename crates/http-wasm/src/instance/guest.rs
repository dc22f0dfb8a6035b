//! A live guest: a store and the functions of the module in it.

use std::fmt;
use std::sync::Arc;

use millpond_engine::{GuestLimits, Tag, begin_ticks};
use millpond_pool_core::{Error, ErrorKind, InstanceId, Ticket, Usage};
use wasmtime::{Instance, Memory, Result, Store, TypedFunc, format_err};
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::host::wasi::Wasi;
use crate::message::body_buffer::{ContentError, Read};
use crate::message::exchange::Exchange;
use crate::message::features::Features;
use crate::module::inspect::{HANDLE_REQUEST, HANDLE_RESPONSE, MEMORY, Traits};
use crate::module::version::Generation;

/// What a guest's `handle_request` wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CtxNext(u64);

impl CtxNext {
    /// Whether the next handler is to be called. The reference host takes anything but 0 for yes.
    pub(crate) fn next(self) -> bool {
        self.0 as u32 != 0
    }

    /// What the guest wants to see again in `handle_response`.
    pub(crate) fn ctx(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

pub(crate) struct Guest {
    store: Store<GuestState>,
    handle_request: TypedFunc<(), i64>,
    handle_response: TypedFunc<(u32, u32), ()>,
}

impl Guest {
    /// A new store with a new instance in it, whose own start has run.
    /// `id`: `None` for one that is only to be tried.
    pub(crate) async fn start(
        generation: &Arc<Generation>,
        id: Option<InstanceId>,
    ) -> Result<Self> {
        let state = GuestState::new(Arc::clone(generation), id);
        let mut store = Store::new(generation.engine(), state);
        store.limiter(|state| &mut state.limits);
        begin_ticks(&mut store, |_| std::future::ready(()));
        let ticks = generation.ticks();
        let instance = ticks.run(generation.instantiate(&mut store)).await?;
        store.data_mut().memory = instance.get_memory(&mut store, MEMORY);
        ticks.run(begin(&mut store, &instance)).await?;
        let handle_request = instance.get_typed_func(&mut store, HANDLE_REQUEST)?;
        let handle_response = instance.get_typed_func(&mut store, HANDLE_RESPONSE)?;
        Ok(Self { store, handle_request, handle_response })
    }

    /// Makes the guest's first call for a request.
    pub(crate) async fn handle_request(
        &mut self,
        exchange: Box<Exchange>,
        request: Ticket,
    ) -> Returned {
        let state = self.store.data_mut();
        state.request = Some(request);
        state.tag.set_request(Some(request));
        let generation = self.enter(exchange);
        let call = self.handle_request.call_async(&mut self.store, ());
        let called = generation.ticks().run(call).await;
        self.leave(called.map(|result| CtxNext(result as u64)))
    }

    /// Makes its second one.
    pub(crate) async fn handle_response(
        &mut self,
        exchange: Box<Exchange>,
        ctx: u32,
        error: bool,
    ) -> Returned {
        let generation = self.enter(exchange);
        let call = self.handle_response.call_async(&mut self.store, (ctx, error.into()));
        let called = generation.ticks().run(call).await;
        self.leave(called.map(|()| CtxNext(0)))
    }

    fn enter(&mut self, mut exchange: Box<Exchange>) -> Arc<Generation> {
        let state = self.store.data_mut();
        exchange.enable(state.features);
        state.exchange = Some(exchange);
        let generation = Arc::clone(&state.generation);
        // It has waited, and its tick is over long since: it would be interrupted at once.
        self.store.set_epoch_deadline(1);
        generation
    }

    fn leave(&mut self, called: Result<CtxNext>) -> Returned {
        let state = self.store.data_mut();
        let called = match (called, state.exchange.take()) {
            (Ok(ctx_next), Some(exchange)) => Ok((ctx_next, exchange)),
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err(format_err!("the exchange is gone")),
        };
        let mut usage = Usage::default();
        usage.memory = state.limits.memory();
        let (blame, traits) = (state.blame.take(), state.generation.traits());
        Returned { called, blame, usage, traits }
    }
}

/// Runs what a module wants run before anything else. One of a WASI command that says it has exited well
/// can be called nevertheless, as on the reference host.
async fn begin(store: &mut Store<GuestState>, instance: &Instance) -> Result<()> {
    for name in ["_initialize", "_start"] {
        let Some(function) = instance.get_func(&mut *store, name) else { continue };
        let begun = function.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await;
        return match begun {
            Err(error) if exited_well(&error) => Ok(()),
            begun => begun,
        };
    }
    Ok(())
}

fn exited_well(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some_and(|exit| exit.0 == 0)
}

/// What came of a call.
pub(crate) struct Returned {
    pub(crate) called: Result<(CtxNext, Box<Exchange>)>,
    /// What the host refused, where that is what broke the call.
    pub(crate) blame: Option<Error>,
    pub(crate) usage: Usage,
    pub(crate) traits: Traits,
}

/// What a guest's store holds.
pub(crate) struct GuestState {
    generation: Arc<Generation>,
    id: Option<InstanceId>,
    limits: GuestLimits,
    /// Known once it is instantiated.
    memory: Option<Memory>,
    wasi: Option<Wasi>,
    /// Who prints and logs.
    tag: Arc<Tag>,
    /// The newest request that it was called for.
    request: Option<Ticket>,
    /// Those it enabled when it started.
    features: Features,
    /// What it works on. `None`: it starts.
    exchange: Option<Box<Exchange>>,
    blame: Option<Error>,
}

impl GuestState {
    fn new(generation: Arc<Generation>, id: Option<InstanceId>) -> Self {
        let limits = GuestLimits::new(generation.max_memory(), generation.memory_account());
        let tag = generation.shared().console.tag(id);
        let wasi = generation.wasi(id, &tag);
        Self {
            generation,
            id,
            limits,
            memory: None,
            wasi,
            tag,
            request: None,
            features: Features::default(),
            exchange: None,
            blame: None,
        }
    }

    /// The instance's number; 0 for one that is only tried.
    pub(crate) fn number(&self) -> u64 {
        self.id.map_or(0, InstanceId::number)
    }

    /// The number of the request that it is called for; 0 while it starts.
    pub(crate) fn request(&self) -> u64 {
        self.request.map_or(0, Ticket::number)
    }

    /// Whether it may have this logged.
    pub(crate) fn may_log(&self, message: &str) -> bool {
        self.tag.may_print(message.as_bytes())
    }

    /// The module's name.
    pub(crate) fn name(&self) -> &str {
        self.generation.name()
    }

    pub(crate) fn config(&self) -> &[u8] {
        self.generation.config()
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        self.memory
    }

    /// # Panics
    ///
    /// If the module does not import WASI: then it is not linked.
    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi.as_mut().expect("made for each guest whose module imports it").ctx
    }

    pub(crate) fn exchange(&mut self) -> Result<&mut Exchange> {
        let exchange = self.exchange.as_deref_mut();
        exchange.ok_or_else(|| format_err!("there is no request while the guest starts"))
    }

    /// Enables features, for this request or for all. What is enabled then.
    pub(crate) fn enable(&mut self, bits: u32) -> Features {
        let features = Features::known(bits);
        match &mut self.exchange {
            Some(exchange) => exchange.enable(features),
            None => {
                self.features |= features;
                self.features
            }
        }
    }

    pub(crate) async fn read_request_body(&mut self, buf: &mut [u8]) -> Result<Read> {
        let read = self.exchange()?.read_request_body(buf).await?;
        read.map_err(|error| self.blame(error))
    }

    pub(crate) fn write_request_body(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.exchange()?.write_request_body(bytes)?;
        written.map_err(|error| self.blame_of_write(error))
    }

    pub(crate) fn write_response_body(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.exchange()?.write_response_body(bytes)?;
        written.map_err(|error| self.blame_of_write(error))
    }

    /// That it writes too much is the guest's own fault; that others have the room is not.
    fn blame_of_write(&mut self, error: ContentError) -> wasmtime::Error {
        match error {
            ContentError::Full => self.blame(error),
            error => error.into(),
        }
    }

    /// The guest's call ends here, and the client learns why.
    fn blame(&mut self, error: ContentError) -> wasmtime::Error {
        let message = error.to_string();
        let kind = match error {
            ContentError::TooLarge { .. } => ErrorKind::BodyTooLarge,
            ContentError::Full => ErrorKind::ResourcesExhausted,
            ContentError::Broken(_) => ErrorKind::BadRequest,
        };
        self.blame = Some(Error::new(kind).with_source(error));
        format_err!("{message}")
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("id", &self.store.data().id).finish_non_exhaustive()
    }
}
