//! Lines for the user who started the process. The log filter does not apply to them.

use std::time::Duration;

use millpond::HostStream;
use millpond::escape::printable;

/// How long the reason for a start's refusal may take to be read.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// After this long, a start says what takes so long.
const PATIENCE: Duration = Duration::from_millis(300);

/// Writes one line to stderr.
pub(crate) fn print_status(line: &str) {
    HostStream::stderr().put_line(line);
}

/// Writes the last line before the process ends.
pub(crate) fn print_last_status(line: &str) {
    let stderr = HostStream::stderr();
    let lost = stderr.lost();
    stderr.put_line(line);
    if stderr.lost() != lost {
        // There is no thread for it, or the queue is full.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
    }
    stderr.flush(LAST_PATIENCE);
}

/// Lets what was printed be written, if it is read.
pub(crate) fn flush(patience: Duration) {
    let began = std::time::Instant::now();
    HostStream::stderr().flush(patience);
    HostStream::stdout().flush(patience.saturating_sub(began.elapsed()));
}

/// Has panics logged as what else is: the standard library would write to stderr itself, and wait for its reader.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        print_status(&printable(format_args!("thread '{name}': {panic}")));
    }));
}

/// Waits for something to be compiled, and says so if that takes a while.
pub(crate) async fn with_progress<T>(name: &str, compiling: impl Future<Output = T>) -> T {
    let mut compiling = std::pin::pin!(compiling);
    match tokio::time::timeout(PATIENCE, &mut compiling).await {
        Ok(compiled) => compiled,
        Err(_) => {
            print_status(&format!("Compiling {name} ..."));
            compiling.await
        }
    }
}
