//! A server that guests can reach.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves as long as the runtime runs.
pub(super) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    addr
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or("");
    let answer: &[u8] = match path {
        "/chunked" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
        "/trailers" => {
            b"HTTP/1.1 200 OK\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"
        }
        "/long" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n").await?;
            return stream.write_all(&vec![b'l'; 300_000]).await;
        }
        "/silent" => {
            // Until the other side gives up.
            while stream.read(&mut [0; 1024]).await? != 0 {}
            return Ok(());
        }
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
    };
    stream.write_all(answer).await?;
    // What is left of the request is read, or the close would take the answer along.
    stream.shutdown().await?;
    while stream.read(&mut [0; 1024]).await? != 0 {}
    Ok(())
}
