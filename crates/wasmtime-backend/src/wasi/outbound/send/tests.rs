//! Requests to services that are slow, or that hang up.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use millpond_engine::{Charge, HostLimits};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::wasi::held::Held;

/// Longer than the way to loopback takes, shorter than the test's patience.
const CONNECT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

async fn send_to(io: &GuestIo, url: &str, connect: Duration) -> Result<Response<WasiBody>, Error> {
    let permit = io.connect(&Arc::new(Semaphore::new(1))).unwrap();
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder().uri(url).header("host", "test").body(body).unwrap();
    let options = RequestOptions { connect_timeout: Some(connect), ..Default::default() };
    let policy = Policy::default();
    let mut held = Held::new(HostLimits::default(), Charge::default());
    let under_way = held.send(&request).unwrap();
    let sent = send(&policy, io, (permit, under_way), request, options);
    let (response, _) = timeout(PATIENCE, sent).await.expect("it gives up")?;
    Ok(response)
}

#[tokio::test]
async fn the_connect_timeout_covers_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    // It takes the hello, and says nothing.
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        (stream, hello)
    });
    let io = GuestIo::default();
    let error = send_to(&io, &format!("https://{addr}/"), CONNECT).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionTimeout), "{error:?}");
    let (_stream, hello) = peer.await.unwrap();
    assert_eq!(hello[0], 0x16, "a handshake had begun");
    assert_eq!(io.usage().connections, 0);
}

#[tokio::test]
async fn a_permit_lasts_as_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let io = GuestIo::default();
    let of_instance = Arc::new(Semaphore::new(1));
    let permit = io.connect(&of_instance).unwrap();
    assert!(io.connect(&of_instance).is_none());
    assert_eq!((io.usage().connections, io.usage().refused), (1, 1));
    drop(permit);
    let peer = tokio::spawn(async move { listener.accept().await.unwrap() });
    let sent = tokio::spawn({
        let io = io.clone();
        let url = format!("http://{addr}/");
        async move { send_to(&io, &url, CONNECT).await.map(drop) }
    });
    let (stream, _) = peer.await.unwrap();
    assert_eq!(io.usage().connections, 1);
    drop(stream);
    assert!(sent.await.unwrap().is_err());
    assert_eq!(io.usage().connections, 0);
}

#[tokio::test]
async fn a_request_with_userinfo_is_invalid() {
    let error = send_to(&GuestIo::default(), "http://me@127.0.0.1/", CONNECT).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestUriInvalid), "{error:?}");
}
