//! Cases of RFC 9113 and 7541, by their sections, as h2spec has them: what a server has to say to a client that errs.
//!
//! docs/CONFORMANCE.md has the table of those that are answered differently.

mod cases;

use std::net::SocketAddr;

use millpond::HttpVersion::P2;
use millpond_tests::frames::{
    ACK, END_HEADERS, END_STREAM, Frame, Frames, PREFACE, field, head, kind,
};
use millpond_tests::{PATIENCE, Process};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// GOAWAY with this error, or the end of the connection without a word.
    Connection(Option<u32>),
    /// RST_STREAM with this error.
    Stream(u32),
    /// A response, or its end.
    Response,
    PingAck(Vec<u8>),
    SettingsAck,
}

/// What it should be told.
enum Wanted {
    /// A connection error: GOAWAY, or just the end.
    Connection(&'static [u32]),
    /// A stream error, for which a connection error is allowed too.
    Stream(&'static [u32]),
    Exactly(Said),
}

impl Wanted {
    fn is(&self, said: &Said) -> bool {
        match (self, said) {
            (Self::Connection(_) | Self::Stream(_), Said::Connection(None)) => true,
            (Self::Connection(codes) | Self::Stream(codes), Said::Connection(Some(code))) => {
                codes.contains(code)
            }
            (Self::Stream(codes), Said::Stream(code)) => codes.contains(code),
            (Self::Exactly(wanted), said) => wanted == said,
            _ => false,
        }
    }
}

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    wanted: Wanted,
}

/// A case in which these frames follow the handshake.
fn case(name: &'static str, frames: &[Frame], wanted: Wanted) -> Case {
    Case { name, bytes: frames.iter().flat_map(Frame::bytes).collect(), wanted }
}

fn connection(name: &'static str, codes: &'static [u32], frames: &[Frame]) -> Case {
    case(name, frames, Wanted::Connection(codes))
}

fn stream(name: &'static str, codes: &'static [u32], frames: &[Frame]) -> Case {
    case(name, frames, Wanted::Stream(codes))
}

fn exactly(name: &'static str, said: Said, frames: &[Frame]) -> Case {
    case(name, frames, Wanted::Exactly(said))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame::new(kind, flags, stream, payload)
}

/// A request whose head has these fields.
fn request(fields: &[(&str, &str)]) -> Frame {
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields)
}

/// A good request with one field more.
fn request_and(name: &str, value: &str) -> Frame {
    let fields = [head("GET", "/hello"), field(name, value)].concat();
    frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields)
}

/// What is answered differently, and how. Each has a line in docs/CONFORMANCE.md.
fn known() -> Vec<(&'static str, Said)> {
    let other_code = [
        "4.3 a bad header block",
        "5.1 half closed: DATA",
        "5.1 half closed: HEADERS",
        "5.1 closed by a reset: HEADERS",
        "6.3 PRIORITY of another length",
        "6.4 RST_STREAM of another length",
        "6.5 SETTINGS ACK with a payload",
        "6.5 SETTINGS of another length",
        "6.5.2 a window above the maximum",
        "6.7 PING of another length",
        "6.9 WINDOW_UPDATE of another length",
        "7541 2.3.3 an index that is not there",
        "7541 4.2 a table size after fields",
        "7541 5.2 Huffman with the end symbol",
        "7541 6.1 index 0",
        "7541 6.3 a table size above the limit",
    ];
    let other_code = other_code.map(|name| (name, Said::Connection(Some(PROTOCOL_ERROR))));
    other_code.into_iter().chain([("8.1 trailers with a pseudo-field", Said::Response)]).collect()
}

/// The first thing that matters after the handshake.
async fn said(addr: SocketAddr, bytes: &[u8]) -> Option<Said> {
    let mut frames = Frames::connect(addr, &[]).await;
    let mut acknowledged = false;
    while !acknowledged {
        let frame = frames.next_of(kind::SETTINGS).await.expect("settings");
        acknowledged = frame.flags & ACK != 0;
    }
    frames.send(&frame(kind::SETTINGS, ACK, 0, &[])).await;
    frames.write(bytes).await;
    loop {
        let Some(frame) = frames.next_within(PATIENCE / 10).await? else {
            return Some(Said::Connection(None));
        };
        match (frame.kind, frame.flags & ACK != 0) {
            (kind::GOAWAY, _) => return Some(Said::Connection(frame.code())),
            (kind::RST_STREAM, _) => return Some(Said::Stream(frame.code()?)),
            (kind::PING, true) => return Some(Said::PingAck(frame.payload)),
            (kind::SETTINGS, true) => return Some(Said::SettingsAck),
            (kind::DATA, true) => return Some(Said::Response),
            (kind::HEADERS, true) => return Some(Said::Response),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_err_are_told() {
    let process = Process::start(P2, &[]).await;
    process.get("/hello").await;
    let known = known();
    let mut wrong = Vec::new();
    for Case { name, bytes, wanted } in cases::of_frames().into_iter().chain(cases::of_messages()) {
        let said = said(process.addr, &bytes).await;
        let is_wanted = said.as_ref().is_some_and(|said| wanted.is(said));
        let differs = known.iter().find(|(other, _)| *other == name).map(|(_, said)| said);
        match differs {
            None if is_wanted => {}
            Some(expected) if said.as_ref() == Some(expected) => {}
            _ => wrong.push((name, said)),
        }
    }
    let wrong: Vec<String> = wrong.iter().map(|(name, said)| format!("{name}: {said:?}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(process.get("/hello").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_begins_as_it_has_to() {
    let process = Process::start(P2, &[]).await;
    // 3.4: what is not the preface is HTTP/1.1, and no good one.
    let mut frames = Frames::bare(process.addr).await;
    frames.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;
    assert_eq!(frames.next_of(kind::SETTINGS).await, None);
    // 3.4: the first frame has to be SETTINGS. h2 takes others before it, as it does after.
    let mut frames = Frames::bare(process.addr).await;
    frames.write(PREFACE).await;
    frames.send(&frame(kind::PING, 0, 0, &[1; 8])).await;
    assert_eq!(frames.next_of(kind::PING).await.unwrap().payload, [1; 8]);
    // 3.4: the server's first frame is.
    let mut frames = Frames::connect(process.addr, &[]).await;
    assert_eq!(frames.next().await.unwrap().kind, kind::SETTINGS);
}
