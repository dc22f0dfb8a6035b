//! `millpond serve`: binds, says where, and serves until it is told to end.
//!
//! The end goes in steps: not ready any more (`drain_delay`), no new connections and no new
//! requests while those that run finish (`drain_timeout`), and then the rest is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::admin::Admin;
use crate::app::App;
use crate::config::edge;
use crate::config::header::Operator;
use crate::config::settings::Settings;
use crate::error::StartError;
use crate::listen::{Limits, Listener, Pacing};
use crate::process::descriptors::Shares;
use crate::process::signals;
use crate::process::status::print_status;

/// Serves until a signal, or a connection to `--shutdown-addr`, asks for the end and everything has drained.
pub(crate) async fn run(settings: Settings) -> Result<(), StartError> {
    // First of all, so that no signal finds the process unprepared.
    let signal = signals::watch()
        .map_err(|error| StartError::failed(format!("cannot watch for signals: {error}")))?;

    let shares = Shares::take(&settings);
    let shutdown_listener = settings.shutdown_addr.map(Listener::bind).transpose()?;
    let admin_listener = settings.admin.map(Listener::bind).transpose()?;
    let listener = Listener::bind(settings.addr)?;
    let own = [&shutdown_listener, &admin_listener].into_iter().flatten().chain([&listener]);
    let own = own.map(Listener::local_addr).collect();
    let app = App::start(&settings, &shares, own).await?;
    let draining = Arc::new(AtomicBool::new(false));

    if let Some(listener) = &shutdown_listener {
        print_status(&format!("Listening for shutdown on tcp://{}/", listener.local_addr()));
    }
    let traffic = listener.traffic();
    if let Some(listener) = admin_listener {
        print_status(&format!("Admin on http://{}/", listener.local_addr()));
        let admin = Admin::new(app.clone(), traffic, shares.connections, Arc::clone(&draining));
        let limits = Limits {
            max_connections: shares.admin,
            drain_timeout: Duration::ZERO,
            pacing: Pacing::default(),
        };
        tokio::spawn(listener.serve(admin, limits, std::future::pending()));
    }
    print_status(&format!("Serving HTTP on http://{}/", listener.local_addr()));

    let accept_once = async {
        match shutdown_listener {
            Some(listener) => listener.accept_once().await,
            None => std::future::pending().await,
        }
    };
    let shutdown = async {
        tokio::select! {
            signal = signal => info!("{signal}: draining"),
            peer = accept_once => info!("connection from {peer} to the shutdown address: draining"),
        }
        draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(settings.drain_delay).await;
    };

    let limits = Limits {
        max_connections: shares.connections,
        drain_timeout: settings.drain_timeout,
        pacing: settings.pacing,
    };
    let mut stopping = None;
    let shutdown = async {
        shutdown.await;
        stopping = Some(Instant::now());
    };
    let (ingress, operator) = (edge::ingress(&settings), Operator::new(settings.headers));
    let outcome = app.serve(listener, ingress, operator, limits, shutdown).await;
    if outcome.cut > 0 {
        warn!(connections = outcome.cut, "cut connections that outlasted the drain timeout");
    }

    // What outlives the connections: work after the response.
    let deadline = stopping.unwrap_or_else(Instant::now) + settings.drain_timeout;
    app.drain(deadline).await;
    info!(connections = outcome.accepted, requests = app.requests(), "stopped");
    Ok(())
}
