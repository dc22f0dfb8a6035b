//! HAProxy in front, where there is one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millpond_tests::until;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::support::file;
use crate::wire::talk_on;

/// The header that it puts into each request it has seen, whatever the client wrote.
pub(crate) const MARK: &str = "x-front";

/// What must be set where its absence is a failure.
const REQUIRED: &str = "MILLPOND_REQUIRE_HAPROXY";

/// How long an attack may last.
const LONGEST: Duration = Duration::from_secs(3);

pub(crate) struct Haproxy {
    child: Child,
    socket: PathBuf,
}

/// Starts it in front of this address. `None`: this machine has none, and that is said.
pub(crate) async fn start(behind: SocketAddr) -> Option<Haproxy> {
    let program = ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|program| {
        let mut version = Command::new(program);
        version.arg("-v").stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    });
    let Some(program) = program else {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and there is no haproxy");
        println!("skipped: there is no haproxy on this machine");
        return None;
    };
    // A path that is short: a socket's has few bytes.
    let socket = std::env::temp_dir().join(format!("millpond-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let config = format!(
        "defaults\n  mode http\n  timeout client 1s\n  timeout server 10s\n  timeout connect 30s\n\
         \x20 http-reuse always\n\
         frontend front\n  bind unix@{}\n  http-request set-header {MARK} seen\n\
         \x20 http-request set-header x-forwarded-for 192.0.2.1\n  default_backend back\n\
         backend back\n  server millpond {behind}\n",
        socket.display()
    );
    let config = file("haproxy.cfg", &config);
    let mut haproxy = Command::new(program);
    haproxy.args(["-db", "-f", &config]).stdin(Stdio::null());
    let mut child = haproxy.spawn().expect("haproxy runs");
    until("haproxy listens", || {
        assert!(child.try_wait().unwrap().is_none(), "haproxy ended early");
        std::os::unix::net::UnixStream::connect(&socket).ok()
    })
    .await;
    Some(Haproxy { child, socket })
}

impl Haproxy {
    /// Sends a good request, and returns all that comes until it closes.
    pub(crate) async fn talk(&self, bytes: &[u8]) -> Vec<u8> {
        talk_on(UnixStream::connect(&self.socket).await.unwrap(), bytes).await
    }

    /// Sends an attack, and waits until nothing more comes of it. HAProxy leaves a body that it cannot read alone, and
    /// its connection open.
    pub(crate) async fn attack(&self, bytes: &[u8]) {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let _ = timeout(LONGEST, talk_on(stream, bytes)).await;
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
