//! SIGTERM and SIGINT: the first one asks for a graceful end, the second one ends the process at once.
//!
//! They are watched on a thread of their own: the second signal is for the case that the rest of the process no longer
//! makes progress, so it must not wait for a turn there.

use std::time::Duration;
use std::{fmt, io};

use tokio::sync::oneshot;

use crate::process::status;

/// How long the last lines may take to be read when the process is to end at once.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// A request to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    #[cfg(unix)]
    Terminate,
}

impl Signal {
    /// What a shell reports for a process that this signal killed.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt if cfg!(unix) => 130,
            Self::Interrupt => 1,
            #[cfg(unix)]
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            #[cfg(unix)]
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Starts watching; the future resolves with the first signal. Signals count from the moment this returns.
pub(crate) fn watch() -> io::Result<impl Future<Output = Signal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    let (first, watched) = oneshot::channel();
    std::thread::Builder::new().name("millpond-signal".into()).spawn(move || {
        runtime.block_on(async {
            // If the receiver is gone, the process is ending already.
            let _ = first.send(signals.next().await);
            let second = signals.next().await;
            status::flush(LAST_WORDS);
            std::process::exit(second.exit_code());
        })
    })?;
    Ok(async move {
        match watched.await {
            Ok(signal) => signal,
            // The thread sends before it ends.
            Err(_) => std::future::pending().await,
        }
    })
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}
