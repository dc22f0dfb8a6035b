//! A live guest: a store and the functions of the module in it.

use std::fmt;
use std::sync::Arc;

use millpond_engine::{GuestLimits, begin_ticks};
use millpond_pool_core::{Error, InstanceId, RequestId, Usage};
use wasmtime::{Instance, Result, Store, TypedFunc, format_err};

use crate::host::guest_memory::MEMORY;
use crate::host::state::GuestState;
use crate::message::exchange::Exchange;
use crate::module::inspect::{HANDLE_REQUEST, HANDLE_RESPONSE, ModuleInfo};
use crate::module::version::ModuleVersion;

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
    version: Arc<ModuleVersion>,
    store: Store<GuestState>,
    handle_request: TypedFunc<(), i64>,
    handle_response: TypedFunc<(u32, u32), ()>,
}

impl Guest {
    /// A new store with a new instance in it, whose own start has run.
    /// `id`: `None` for one that is only to be tried.
    pub(crate) async fn start(
        version: &Arc<ModuleVersion>,
        id: Option<InstanceId>,
    ) -> Result<Self> {
        let limits = GuestLimits::new(version.max_memory(), version.memory_account());
        let tag = version.shared().console.tag(id);
        let wasi = version.wasi(id, &tag);
        let state = GuestState::new(version.named(), id, limits, tag, wasi);
        let mut store = Store::new(version.engine(), state);
        store.limiter(|state| &mut state.limits);
        begin_ticks(&mut store, |_| std::future::ready(()));
        let ticks = version.ticks();
        let instance = ticks.run(version.instantiate(&mut store)).await?;
        store.data_mut().memory = instance.get_memory(&mut store, MEMORY);
        ticks.run(begin(&mut store, &instance)).await?;
        let handle_request = instance.get_typed_func(&mut store, HANDLE_REQUEST)?;
        let handle_response = instance.get_typed_func(&mut store, HANDLE_RESPONSE)?;
        let version = Arc::clone(version);
        Ok(Self { version, store, handle_request, handle_response })
    }

    /// Makes the guest's first call for a request.
    pub(crate) async fn handle_request(
        &mut self,
        exchange: Box<Exchange>,
        request: RequestId,
    ) -> Returned {
        let state = self.store.data_mut();
        state.request = Some(request);
        state.tag.set_request(Some(request));
        self.enter(exchange);
        let call = self.handle_request.call_async(&mut self.store, ());
        let called = self.version.ticks().run(call).await;
        self.leave(called.map(|result| CtxNext(result as u64)))
    }

    /// Makes its second one.
    pub(crate) async fn handle_response(
        &mut self,
        exchange: Box<Exchange>,
        ctx: u32,
        error: bool,
    ) -> Returned {
        self.enter(exchange);
        let call = self.handle_response.call_async(&mut self.store, (ctx, error.into()));
        let called = self.version.ticks().run(call).await;
        self.leave(called.map(|()| CtxNext(0)))
    }

    fn enter(&mut self, mut exchange: Box<Exchange>) {
        let state = self.store.data_mut();
        exchange.enable(state.features);
        state.exchange = Some(exchange);
        // It has waited, and its tick is over long since: it would be interrupted at once.
        self.store.set_epoch_deadline(1);
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
        let (blame, info) = (state.blame.take(), self.version.info());
        Returned { called, blame, usage, info }
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
    pub(crate) info: ModuleInfo,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("id", &self.store.data().id).finish_non_exhaustive()
    }
}
