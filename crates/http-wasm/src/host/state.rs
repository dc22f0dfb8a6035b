//! What a guest's store holds, which all host functions work on.

use std::sync::Arc;

use millpond_engine::{GuestLimits, Tag};
use millpond_pool_core::{Error, ErrorKind, InstanceId, RequestId};
use wasmtime::{Memory, Result, format_err};
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::host::wasi::Wasi;
use crate::message::body_buffer::{BodyBufferError, Read};
use crate::message::exchange::Exchange;
use crate::message::features::Features;

/// The data of a store.
pub(crate) struct GuestState {
    /// The module's.
    name: Arc<str>,
    config: Arc<[u8]>,
    pub(crate) id: Option<InstanceId>,
    pub(crate) limits: GuestLimits,
    /// Known once it is instantiated.
    pub(crate) memory: Option<Memory>,
    wasi: Option<Wasi>,
    /// Who prints and logs.
    pub(crate) tag: Arc<Tag>,
    /// The newest request that it was called for.
    pub(crate) request: Option<RequestId>,
    /// Those it enabled when it started.
    pub(crate) features: Features,
    /// What it works on. `None`: it starts.
    pub(crate) exchange: Option<Box<Exchange>>,
    pub(crate) blame: Option<Error>,
}

impl GuestState {
    /// Of a guest that has yet to be instantiated.
    pub(crate) fn new(
        (name, config): (Arc<str>, Arc<[u8]>),
        id: Option<InstanceId>,
        limits: GuestLimits,
        tag: Arc<Tag>,
        wasi: Option<Wasi>,
    ) -> Self {
        Self {
            name,
            config,
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
        self.request.map_or(0, RequestId::number)
    }

    /// Whether it may have this logged.
    pub(crate) fn may_log(&self, message: &str) -> bool {
        self.tag.may_print(message.as_bytes())
    }

    /// The module's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self) -> &[u8] {
        &self.config
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
    fn blame_of_write(&mut self, error: BodyBufferError) -> wasmtime::Error {
        match error {
            BodyBufferError::Full => self.blame(error),
            error => error.into(),
        }
    }

    /// The guest's call ends here, and the client learns why.
    fn blame(&mut self, error: BodyBufferError) -> wasmtime::Error {
        let message = error.to_string();
        let kind = match error {
            BodyBufferError::TooLarge { .. } => ErrorKind::BodyTooLarge,
            BodyBufferError::Full => ErrorKind::ResourcesExhausted,
            BodyBufferError::Broken(_) => ErrorKind::BadRequest,
        };
        self.blame = Some(Error::new(kind).with_source(error));
        format_err!("{message}")
    }
}
