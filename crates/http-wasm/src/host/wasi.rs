//! WASI preview 1, for guests that import it: standard output and error, clocks and randomness; no files, and no
//! environment but `INSTANCE_ID`. Each guest has its own.

use std::path::Path;
use std::sync::Arc;

use millpond_engine::{Console, HostLimits, Tag};
use millpond_pool_core::InstanceId;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p1::WasiP1Ctx;

pub(crate) struct Wasi {
    pub(crate) ctx: WasiP1Ctx,
}

impl Wasi {
    /// `id`: `None` for a guest that is only tried, whose output is lost.
    pub(crate) fn new(
        name: &str,
        id: Option<InstanceId>,
        console: &Console,
        tag: &Arc<Tag>,
    ) -> Self {
        let mut ctx = WasiCtx::builder();
        // Where the host has it is nothing to a guest.
        let file = Path::new(name).file_name().and_then(|file| file.to_str());
        ctx.arg(file.unwrap_or(name));
        ctx.max_random_size(HostLimits::default().random_bytes);
        if let Some(id) = id {
            ctx.env("INSTANCE_ID", id.to_string());
            if let Some([stdout, stderr]) = console.streams(tag) {
                ctx.stdout(stdout).stderr(stderr);
            }
        }
        Self { ctx: ctx.build_p1() }
    }
}
