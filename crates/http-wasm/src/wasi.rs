//! WASI preview 1, for guests that import it: standard output and error, clocks and randomness; no files, and no
//! environment but `INSTANCE_ID`. Each guest has its own.

use std::path::Path;
use std::sync::Arc;

use millpond_engine::{Console, Output, Tag};
use millpond_pool_core::{InstanceId, Ticket};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::generation::Shared;

pub(crate) struct Wasi {
    pub(crate) ctx: WasiP1Ctx,
    /// Who prints, if what it prints is not lost.
    tag: Option<Arc<Tag>>,
}

impl Wasi {
    /// `id`: `None` for a guest that is only tried, whose output is lost.
    pub(crate) fn new(name: &str, id: Option<InstanceId>, shared: &Shared) -> Self {
        let mut ctx = WasiCtx::builder();
        // Where the host has it is nothing to a guest.
        let file = Path::new(name).file_name().and_then(|file| file.to_str());
        ctx.arg(file.unwrap_or(name));
        if let Some(id) = id {
            ctx.env("INSTANCE_ID", id.to_string());
        }
        let tag = id.filter(|_| shared.output != Output::None).map(|id| Arc::new(Tag::new(id)));
        if let Some(tag) = &tag {
            let console = shared.console.get_or_init(Console::new);
            if let Some([stdout, stderr]) = console.streams(shared.output, tag) {
                ctx.stdout(stdout).stderr(stderr);
            }
        }
        Self { ctx: ctx.build_p1(), tag }
    }

    /// What it prints from here on is for this request.
    pub(crate) fn begin(&self, request: Ticket) {
        if let Some(tag) = &self.tag {
            tag.set_request(Some(request));
        }
    }
}
