//! Lines for whoever started the process: they come whatever the log filter says.

use std::io::Write as _;
use std::time::Duration;

/// After this long, a start says what takes so long.
const PATIENCE: Duration = Duration::from_millis(300);

/// One line on stderr.
pub(crate) fn say(line: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits for something to be compiled, and says so if that takes a while.
pub(crate) async fn patiently<T>(name: &str, compiling: impl Future<Output = T>) -> T {
    let mut compiling = std::pin::pin!(compiling);
    match tokio::time::timeout(PATIENCE, &mut compiling).await {
        Ok(compiled) => compiled,
        Err(_) => {
            say(&format!("Compiling {name} ..."));
            compiling.await
        }
    }
}
