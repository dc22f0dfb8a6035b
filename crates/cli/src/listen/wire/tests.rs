use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::super::traffic::Traffic;
use super::*;

const PATIENCE: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);

const WRITES: Rule =
    Rule { rate: 240, grace: Duration::from_secs(30), stall: Some(Duration::from_secs(20)) };

/// A peer, and our end, between which there is room for so many bytes.
fn pair(room: usize) -> (DuplexStream, Wire<DuplexStream>, Arc<Traffic>) {
    let (peer, socket) = tokio::io::duplex(room);
    let traffic = Arc::new(Traffic::default());
    let connection = Connection::new(Arc::clone(&traffic));
    (peer, Wire::new(socket, PATIENCE, WRITES, connection), traffic)
}

/// What reading meets after the peer has sent `bytes` and nothing more for a minute.
async fn silence_after(bytes: &[u8]) -> Result<usize, io::ErrorKind> {
    let (mut peer, mut socket, _) = pair(1024);
    for byte in bytes {
        peer.write_all(&[*byte]).await.unwrap();
        socket.read_u8().await.unwrap();
    }
    match tokio::time::timeout(SECOND * 60, socket.read_u8()).await {
        Ok(Ok(byte)) => panic!("read {byte}"),
        Ok(Err(error)) => Err(error.kind()),
        Err(_) => Ok(bytes.len()),
    }
}

#[tokio::test(start_paused = true)]
async fn ends_the_wait_while_the_protocol_is_open() {
    let start = Instant::now();
    assert_eq!(silence_after(b"").await, Err(io::ErrorKind::TimedOut));
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    assert_eq!(silence_after(b"P").await, Err(io::ErrorKind::TimedOut));
    assert_eq!(silence_after(&HTTP2_PREFACE[..23]).await, Err(io::ErrorKind::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn steps_aside_once_it_is_known() {
    assert_eq!(silence_after(b"G").await, Ok(1));
    assert_eq!(silence_after(b"PRO").await, Ok(3));
    assert_eq!(silence_after(HTTP2_PREFACE).await, Ok(24));
}

#[tokio::test(start_paused = true)]
async fn ends_a_write_that_does_not_move() {
    let (_peer, mut socket, traffic) = pair(10);
    let begin = Instant::now();
    let error = socket.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(begin.elapsed().as_secs(), 20);
    assert_eq!(traffic.measure().cut(Cut::WriteStalled), 1);
}

#[tokio::test(start_paused = true)]
async fn ends_writes_that_trickle() {
    let (mut peer, mut socket, traffic) = pair(10);
    let begin = Instant::now();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SECOND * 6).await;
            peer.read_u8().await.unwrap();
        }
    });
    let error = socket.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert_eq!(traffic.measure().cut(Cut::SlowWrites), 1);
}

#[tokio::test(start_paused = true)]
async fn lets_writes_take_their_time_that_move() {
    let (mut peer, mut socket, traffic) = pair(10_000);
    let reader = tokio::spawn(async move {
        let mut read = 0;
        let mut buf = [0; 5000];
        while let Ok(n @ 1..) = peer.read(&mut buf).await {
            read += n;
            tokio::time::sleep(SECOND * 15).await;
        }
        read
    });
    for _ in 0..100 {
        socket.write_all(&[0; 5000]).await.unwrap();
        socket.flush().await.unwrap();
    }
    // An hour in which there is nothing to write.
    tokio::time::sleep(SECOND * 3600).await;
    socket.write_all(&[0; 10_000]).await.unwrap();
    drop(socket);
    assert_eq!(reader.await.unwrap(), 510_000);
    assert_eq!(traffic.measure().cut(Cut::WriteStalled), 0);
}

#[tokio::test]
async fn ends_http1_of_which_nothing_comes() {
    let (mut peer, mut socket, traffic) = pair(1024);
    tokio::spawn(async move {
        peer.write_all(b"GET / HTTP/1.1").await.unwrap();
        while peer.write_all(&[b'0'; 1000]).await.is_ok() {}
    });
    let (mut read, mut buf) = (0, [0; 512]);
    while read < 4 * FRUITLESS {
        // Something comes of the first three quarters.
        if read < 3 * FRUITLESS {
            socket.connection.received();
        }
        match socket.read(&mut buf).await {
            Ok(n) => read += n,
            Err(error) => {
                assert_eq!(error.to_string(), "too many bytes that make nothing");
                break;
            }
        }
    }
    assert!((4 * FRUITLESS - 1024..4 * FRUITLESS).contains(&read), "{read}");
    assert_eq!(traffic.measure().cut(Cut::Flood), 1);
}

#[tokio::test(start_paused = true)]
async fn ends_a_flood_of_pings_after_the_preface() {
    let (mut peer, mut socket, traffic) = pair(1024);
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    tokio::spawn(async move {
        peer.write_all(HTTP2_PREFACE).await.unwrap();
        while peer.write_all(&ping).await.is_ok() {}
    });
    let (mut read, mut buf) = (0, [0; 512]);
    let error = loop {
        assert!(read < 40_000, "it goes on");
        match socket.read(&mut buf).await {
            Ok(n) => read += n,
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "too many frames that do no work");
    assert!((33_000..40_000).contains(&read), "{read}");
    assert_eq!(traffic.measure().cut(Cut::Flood), 1);
}
