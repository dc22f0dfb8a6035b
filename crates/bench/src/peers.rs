//! Servers to compare with that are no programs of their own: bare axum, the floor below which no
//! server with a guest in it can get, and wasmtime's `ProxyHandler` behind axum, what an embedder would
//! write without Millpond. Each runs in a process of its own, as hidden subcommands of this program.

mod floor;
mod many;
pub(crate) mod proxy_handler;
mod proxy_host;

use axum::Router;
use axum::serve::ListenerExt as _;
use clap::{Args, Subcommand};
use tokio::net::TcpListener;

use crate::Fallible;

#[derive(Subcommand)]
pub(crate) enum Options {
    /// Axum with handlers in Rust
    Axum {
        #[arg(long)]
        addr: String,
    },
    /// wasmtime's ProxyHandler behind axum
    ProxyHandler(Proxy),
    /// Many components in one process
    Many(many::Many),
}

#[derive(Args)]
pub(crate) struct Proxy {
    #[arg(long)]
    addr: String,
    /// Where it says how many instances live
    #[arg(long)]
    admin: Option<String>,
    #[arg(long)]
    component: std::path::PathBuf,
    /// Requests for each instance [default: as `wasmtime serve`]
    #[arg(long)]
    reuse: Option<usize>,
    /// Requests at a time for each instance [default: as `wasmtime serve`]
    #[arg(long)]
    concurrency: Option<usize>,
}

pub(crate) fn run(options: Options) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match options {
            Options::Axum { addr } => serve("Serving HTTP", &addr, floor::router()).await,
            Options::ProxyHandler(proxy) => {
                let (app, admin) = proxy_handler::routers(&proxy)?;
                serve_both((&proxy.addr, app), (proxy.admin, admin)).await
            }
            Options::Many(many) => {
                let (app, admin) = many::routers(&many)?;
                serve_both((&many.addr, app), (Some(many.admin), admin)).await
            }
        }
    })
}

async fn serve_both(
    (addr, app): (&str, Router),
    (admin_addr, admin): (Option<String>, Router),
) -> Fallible<()> {
    if let Some(addr) = admin_addr {
        tokio::spawn(async move { serve("Admin", &addr, admin).await });
        // A reader that waits for the next line has seen this one by then.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    serve("Serving HTTP", addr, app).await
}

async fn serve(what: &str, addr: &str, app: Router) -> Fallible<()> {
    let listener = TcpListener::bind(addr).await?;
    eprintln!("{what} on http://{}/", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).await?;
    Ok(())
}
