//! Looking up names, on threads of their own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};

use tokio::sync::{Semaphore, oneshot};
use wasmtime_wasi_http::Error;

/// Names that are looked up at once. `getaddrinfo` blocks a thread, for as long as the slowest name server likes. The
/// runtime's blocking threads are shared with files and core dumps: neither waits for the other here.
const LOOK_UPS: usize = 32;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LOOK_UPS)));

/// Returns all addresses of a host. If this is dropped, the thread keeps its place until the resolver is done.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let place = Arc::clone(&PLACES).acquire_owned().await.expect("it is never closed");
    let host = host.to_owned();
    let (done, found) = oneshot::channel();
    let look_up = move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        drop(place);
        let _ = done.send(addresses);
    };
    let thread = std::thread::Builder::new().name("millpond-resolve".to_owned());
    let started = thread.spawn(look_up);
    started.map_err(|error| Error::InternalError(Some(format!("no resolver: {error}"))))?;
    match found.await {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        // The code that guests get for it from wasmtime.
        _ => Err(Error::DnsError {
            rcode: Some("address not available".to_owned()),
            info_code: None,
        }),
    }
}
