//! Floods of HTTP/2 frames, and responses that are not taken.

use std::net::SocketAddr;

use millpond::HttpVersion::P2;
use millpond_tests::Process;
use millpond_tests::frames::{END_HEADERS, Frame, Frames, Innocents, kind};

/// What a flood may make the process hold, in MiB. One that was not bounded would take hundreds.
const GROWTH: u64 = 64;

async fn start(flags: &[&str]) -> (Process, SocketAddr) {
    let mut process = Process::start(P2, &[&["--admin=127.0.0.1:0"], flags].concat()).await;
    let admin = process.announced("Admin on http://").await;
    process.get("/hello").await;
    (process, admin)
}

/// Sends batches of frames after `first`; the connection has to be closed within `times`, and the innocents beside it
/// have to be answered.
async fn flood(
    flags: &[&str],
    first: &[Frame],
    times: usize,
    batch: impl FnMut(usize) -> Vec<Frame>,
) -> (Process, SocketAddr) {
    let (process, admin) = start(flags).await;
    let before = process.resident_mib();
    let innocents = Innocents::start(process.addr);
    let mut frames = Frames::connect(process.addr, &[]).await;
    for frame in first {
        frames.send(frame).await;
    }
    let closed = frames.flood(times, batch).await;
    assert!(closed.is_some(), "it goes on after {times} batches");
    assert!(innocents.stop().await > 0);
    process.comes_to_rest(admin).await;
    let grown = process.resident_mib().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} MiB more");
    (process, admin)
}

/// The same frames 100 at a time; it is our budget that ends it.
async fn frames_that_do_nothing(frame: Frame) {
    let (process, admin) = flood(&[], &[], 1000, |_| vec![frame.clone(); 100]).await;
    process.measures(admin, "millpond_connections_ended_total{reason=\"flood\"} 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_ends() {
    frames_that_do_nothing(Frame::new(kind::PING, 0, 0, [0; 8])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_settings_ends() {
    frames_that_do_nothing(Frame::settings(&[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_priorities_ends() {
    frames_that_do_nothing(Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 3, 7])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_window_updates_ends() {
    frames_that_do_nothing(Frame::window(0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_empty_data_ends() {
    let empty = Frame::new(kind::DATA, 0, 1, []);
    flood(&[], &[Frame::post(1, "/drain")], 1000, |_| vec![empty.clone(); 100]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_continuations_ends() {
    let mut open = Frame::get(1, "/hello");
    open.flags &= !END_HEADERS;
    let more = Frame::new(kind::CONTINUATION, 0, 1, []);
    flood(&[], &[open], 1000, |_| vec![more.clone(); 100]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continuation_without_end_is_not_held() {
    let mut open = Frame::get(1, "/hello");
    open.flags &= !END_HEADERS;
    let field = millpond_tests::frames::field("x", &"a".repeat(120)).repeat(120);
    let more = Frame::new(kind::CONTINUATION, 0, 1, field);
    flood(&[], &[open], 10_000, |_| vec![more.clone()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end() {
    // The guest would run for ever, if it began.
    let pair = |n: usize| {
        let stream = u32::try_from(2 * n + 1).unwrap();
        vec![Frame::get(stream, "/never"), Frame::reset(stream, 8)]
    };
    flood(&[], &[], 50_000, |n| (10 * n..10 * n + 10).flat_map(pair).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_of_what_has_begun_end() {
    // h2 bounds those that it sees before we do; these it does not.
    const EACH: u32 = 10;
    let (process, admin) = start(&[]).await;
    let innocents = Innocents::start(process.addr);
    let mut frames = Frames::connect(process.addr, &[]).await;
    let ping = Frame::new(kind::PING, 0, 0, [7; 8]);
    let mut ended = false;
    for n in 0..300 {
        let streams = (n * EACH..(n + 1) * EACH).map(|n| 2 * n + 1);
        for stream in streams.clone() {
            frames.send(&Frame::get(stream, "/never")).await;
        }
        frames.send(&ping).await;
        ended = frames.next_of(kind::PING).await.is_none();
        if ended {
            break;
        }
        for stream in streams {
            frames.send(&Frame::reset(stream, 8)).await;
        }
    }
    assert!(ended, "3000 resets were taken");
    process.measures(admin, "millpond_connections_ended_total{reason=\"flood\"} 1").await;
    assert!(innocents.stop().await > 0);
    process.comes_to_rest(admin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_unread_pieces_harm_no_stream() {
    // As a client streams short messages to a guest that is busy.
    let (process, _) = start(&[]).await;
    let mut frames = Frames::connect(process.addr, &[]).await;
    frames.send(&Frame::post(1, "/never")).await;
    for _ in 0..1500 {
        frames.send(&Frame::new(kind::DATA, 0, 1, *b"a")).await;
    }
    frames.send(&Frame::get(3, "/hello")).await;
    let head = frames.next_of(kind::HEADERS).await.expect("the connection goes on");
    assert_eq!(head.stream, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_many_fields_are_not_held() {
    // Each names a field of the connection's table again and again: a byte on the wire, and a hundred in memory.
    const CONNECTIONS: usize = 8;
    const STREAMS: u32 = 120;
    let flags = ["--max-instances=1", "--queue=10000", "--queue-timeout=10m"];
    let (process, admin) = start(&flags).await;
    let before = process.resident_mib();
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut frames = Frames::connect(process.addr, &[]).await;
        for n in 0..STREAMS {
            let mut get = Frame::get(2 * n + 1, "/never");
            // RFC 7541: a literal that is added to the table, and then the newest entry of it.
            let first = if n == 0 { &b"\x40\x01x\x01a"[..] } else { &[] };
            get.payload = [&get.payload, first, &[0x80 | 62; 1800]].concat();
            frames.send(&get).await;
        }
        for _ in 0..STREAMS {
            frames.next_of(kind::HEADERS).await.expect("each is answered at once");
        }
        all.push(frames);
    }
    // Each thread has had the heads of one connection at a time, which the allocator gives back as it goes on.
    let deadline = tokio::time::Instant::now() + millpond_tests::PATIENCE;
    loop {
        let grown = process.resident_mib().saturating_sub(before);
        if grown < GROWTH {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{grown} MiB more");
        process.metric(admin, "millpond_connections").await;
    }
    drop(all);
    process.comes_to_rest(admin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_are_allowed_end() {
    let get = |n: usize| Frame::get(u32::try_from(2 * n + 1).unwrap(), "/never");
    let flags = ["--max-instances=10", "--queue-timeout=100ms", "--request-timeout=2s"];
    // The innocents must have a place beside it.
    let (process, admin) = start(&flags).await;
    let frames = Frames::connect(process.addr, &[]).await;
    let closed = frames.flood(100, |n| (100 * n..100 * n + 100).map(get).collect()).await;
    assert!(closed.is_some(), "refused streams have a bound");
    process.comes_to_rest(admin).await;
    assert_eq!(process.get("/hello").await.0, 200);
}

/// Opens streams and does not take their responses; returns once all guests that can be are done. With `done`, a client
/// reads and gives a window of one byte, so that small responses leave their guests; else it gives every window there is,
/// and does not read.
async fn unread(connections: usize, path: &str, done: bool) {
    const STREAMS: u32 = 128;
    const MOST: u32 = (1 << 31) - 1;
    let flags = ["--max-instances=64", "--queue=10000", "--queue-timeout=1m"];
    let (process, admin) = start(&flags).await;
    let before = process.resident_mib();
    let (mut reading, mut silent) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let window = if done { 1 } else { MOST };
        let mut frames = Frames::connect(process.addr, &[(4, window)]).await;
        frames.send(&Frame::window(0, MOST - 65_535)).await;
        for n in 0..STREAMS {
            frames.send(&Frame::get(2 * n + 1, path)).await;
        }
        if done {
            reading.push(frames.drain());
        } else {
            silent.push(frames);
        }
    }
    let all = (connections * STREAMS as usize) as u64;
    if done {
        let answered = format!("millpond_requests_total{{outcome=\"responded\"}} {}", all + 1);
        process.measures(admin, &answered).await;
        process.measures(admin, "millpond_requests{stage=\"streaming\"} 0").await;
    } else {
        process.measures(admin, "millpond_requests{stage=\"streaming\"} 64").await;
    }
    let queued = process.metric(admin, "millpond_response_bytes_queued").await;
    // As `traffic.rs` derives it: 1 MiB and a piece for each further stream.
    let most = connections as u64 * ((1 << 20) + u64::from(STREAMS) * 17 * 1024);
    assert!(queued <= most, "{queued} bytes of {most}");
    let grown = process.resident_mib().saturating_sub(before);
    println!(
        "{connections} connections of {STREAMS} streams: {queued} bytes queued, {grown} MiB more"
    );
    // The guests have theirs as well.
    assert!(grown < 2 * GROWTH + 2 * queued / (1 << 20), "{grown} MiB for {queued} bytes");
    drop((reading, silent));
    process.comes_to_rest(admin).await;
    assert_eq!(process.get("/hello").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_responses_stay_with_their_guests() {
    unread(8, "/fill?n=400000", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_responses_leave_their_guests() {
    unread(8, "/fill?n=4000", true).await;
}
