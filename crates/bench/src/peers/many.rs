//! Many components in one process, each with few requests: a pool for each of them, all on one budget;
//! or a `ProxyHandler` for each. They are one component, so that what is compared is not the compiler.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use clap::Args;
use millpond::{BudgetLimits, InfallibleService, Output, Share, SharedBudget, WasiHost, WasmPool};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::proxy_handler;
use crate::Fallible;

#[derive(Args)]
pub(crate) struct Many {
    #[arg(long)]
    pub(super) addr: String,
    #[arg(long)]
    pub(super) admin: String,
    #[arg(long)]
    component: PathBuf,
    #[arg(long)]
    count: usize,
    /// `ProxyHandler`s instead of Millpond's pools
    #[arg(long)]
    proxy_handler: bool,
    /// Live instances of all pools together
    #[arg(long, default_value_t = 1000)]
    budget: usize,
}

/// The application, with each component at `/n/NUMBER`, and what says how many instances live.
pub(super) fn routers(many: &Many) -> Fallible<(Router, Router)> {
    let engine = Engine::new(proxy_handler::config()?.epoch_interruption(!many.proxy_handler))?;
    let component = Component::from_file(&engine, &many.component)?;
    if many.proxy_handler { handlers(many, &component) } else { pools(many, &component) }
}

fn pools(many: &Many, component: &Component) -> Fallible<(Router, Router)> {
    let budget = SharedBudget::new(BudgetLimits::instances(many.budget));
    let mut app = Router::new();
    let mut pools = Vec::new();
    for number in 0..many.count {
        let builder = WasmPool::builder(WasiHost::new().output(Output::None));
        let pool = builder.budget(&budget, Share::default()).from_component(component)?;
        app = app.nest_service(&format!("/n/{number}"), InfallibleService::new(pool.clone()));
        pools.push(pool);
    }
    let count = move || async move {
        let alive = pools.iter().map(|pool| pool.snapshot().instances.live());
        format!("instances{{status=\"live\"}} {}\n", alive.sum::<usize>())
    };
    Ok((app, Router::new().route("/metrics", get(count))))
}

fn handlers(many: &Many, component: &Component) -> Fallible<(Router, Router)> {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut app = Router::new();
    for number in 0..many.count {
        let handler = proxy_handler::handler(component, (None, None), Arc::clone(&alive))?;
        app = app.nest(&format!("/n/{number}"), handler);
    }
    let count = move || async move {
        format!("instances{{status=\"live\"}} {}\n", alive.load(Ordering::Relaxed))
    };
    Ok((app, Router::new().route("/metrics", get(count))))
}
