//! How many instances live, asked for again and again while a load runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::probe;

const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Instances {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<f64>>>,
}

impl Instances {
    /// `None`: a server that does not tell.
    pub(super) fn watch(admin: Option<SocketAddr>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = admin.map(|admin| {
            thread::spawn(move || {
                let mut seen = Vec::new();
                while !stopped.load(Ordering::Relaxed) {
                    seen.extend(count(admin));
                    thread::sleep(PAUSE);
                }
                seen
            })
        });
        Self { stop, thread }
    }

    /// Their mean.
    pub(super) fn mean(mut self) -> Option<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take()?.join().ok()?;
        (!seen.is_empty()).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn count(admin: SocketAddr) -> Option<f64> {
    let (_, metrics) = probe::get(admin, "/metrics").ok()?;
    let rows = metrics
        .lines()
        .filter(|line| line.starts_with("millpond_instances{") || line.starts_with("instances{"));
    rows.map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok()).sum()
}
