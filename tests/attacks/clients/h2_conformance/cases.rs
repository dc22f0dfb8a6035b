//! The cases, in the order of their sections.

use millpond_tests::frames::{ACK, END_HEADERS, END_STREAM, Frame, field, head, kind};

use super::*;

pub(super) fn of_frames() -> Vec<Case> {
    let get = || Frame::get(1, "/hello");
    let post = || Frame::post(1, "/drain");
    let open = Frame { flags: END_STREAM, ..get() };
    let long = vec![0; 16_385];
    let more = frame(kind::CONTINUATION, END_HEADERS, 1, &field("x", "y"));
    vec![
        exactly(
            "4.1 an unknown frame",
            Said::PingAck(vec![9; 8]),
            &[frame(0xaa, 0xff, 0, b"whatever"), frame(kind::PING, 0, 0, &[9; 8])],
        ),
        exactly(
            "4.1 unknown flags",
            Said::PingAck(vec![9; 8]),
            &[frame(kind::PING, 0xfe, 0, &[9; 8])],
        ),
        exactly(
            "4.1 a reserved bit",
            Said::PingAck(vec![9; 8]),
            &[frame(kind::PING, 0, 1 << 31, &[9; 8])],
        ),
        stream(
            "4.2 DATA that is too long",
            &[FRAME_SIZE_ERROR],
            &[post(), frame(kind::DATA, 0, 1, &long)],
        ),
        connection(
            "4.2 HEADERS that are too long",
            &[FRAME_SIZE_ERROR],
            &[frame(kind::HEADERS, END_HEADERS, 1, &long)],
        ),
        connection(
            "4.3 a bad header block",
            &[COMPRESSION_ERROR],
            &[frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x40])],
        ),
        connection(
            "4.3 PRIORITY inside of a header block",
            &[PROTOCOL_ERROR],
            &[open.clone(), frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 7])],
        ),
        connection(
            "4.3 HEADERS inside of another's header block",
            &[PROTOCOL_ERROR],
            &[open.clone(), Frame::get(3, "/hello")],
        ),
        connection(
            "5.1 idle: DATA",
            &[PROTOCOL_ERROR, STREAM_CLOSED],
            &[frame(kind::DATA, 1, 1, b"a")],
        ),
        connection("5.1 idle: RST_STREAM", &[PROTOCOL_ERROR], &[Frame::reset(1, 8)]),
        connection("5.1 idle: WINDOW_UPDATE", &[PROTOCOL_ERROR], &[Frame::window(1, 100)]),
        connection("5.1 idle: CONTINUATION", &[PROTOCOL_ERROR], std::slice::from_ref(&more)),
        stream(
            "5.1 half closed: DATA",
            &[STREAM_CLOSED],
            &[Frame::get(1, "/sleep?ms=1000"), frame(kind::DATA, 1, 1, b"a")],
        ),
        stream(
            "5.1 half closed: HEADERS",
            &[STREAM_CLOSED],
            &[Frame::get(1, "/sleep?ms=1000"), Frame::get(1, "/hello")],
        ),
        connection(
            "5.1 half closed: CONTINUATION",
            &[STREAM_CLOSED, PROTOCOL_ERROR],
            &[Frame::get(1, "/sleep?ms=1000"), more.clone()],
        ),
        stream(
            "5.1 closed by a reset: DATA",
            &[STREAM_CLOSED],
            &[post(), Frame::reset(1, 8), frame(kind::DATA, 1, 1, b"a")],
        ),
        stream(
            "5.1 closed by a reset: HEADERS",
            &[STREAM_CLOSED],
            &[post(), Frame::reset(1, 8), Frame::get(1, "/hello")],
        ),
        connection("5.1.1 an even stream", &[PROTOCOL_ERROR], &[Frame::get(2, "/hello")]),
        connection(
            "5.1.1 a stream with a lower number",
            &[PROTOCOL_ERROR, STREAM_CLOSED],
            &[Frame::get(5, "/sleep?ms=1000"), Frame::get(3, "/hello")],
        ),
        stream(
            "5.3.1 HEADERS that depend on themselves",
            &[PROTOCOL_ERROR],
            &[frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM | 0x20,
                1,
                &[&[0, 0, 0, 1, 7][..], &head("GET", "/hello")].concat(),
            )],
        ),
        stream(
            "5.3.1 PRIORITY that depends on itself",
            &[PROTOCOL_ERROR],
            &[frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 7])],
        ),
        connection("6.1 DATA on stream 0", &[PROTOCOL_ERROR], &[frame(kind::DATA, 1, 0, b"a")]),
        stream(
            "6.1 DATA with more padding than payload",
            &[PROTOCOL_ERROR],
            &[post(), frame(kind::DATA, END_STREAM | 8, 1, &[200, 1, 2])],
        ),
        connection("6.2 HEADERS on stream 0", &[PROTOCOL_ERROR], &[Frame::get(0, "/hello")]),
        connection(
            "6.2 HEADERS with more padding than payload",
            &[PROTOCOL_ERROR],
            &[frame(kind::HEADERS, END_HEADERS | END_STREAM | 8, 1, &[200, 1, 2])],
        ),
        connection(
            "6.3 PRIORITY on stream 0",
            &[PROTOCOL_ERROR],
            &[frame(kind::PRIORITY, 0, 0, &[0, 0, 0, 3, 7])],
        ),
        stream(
            "6.3 PRIORITY of another length",
            &[FRAME_SIZE_ERROR],
            &[frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3])],
        ),
        connection("6.4 RST_STREAM on stream 0", &[PROTOCOL_ERROR], &[Frame::reset(0, 8)]),
        connection(
            "6.4 RST_STREAM of another length",
            &[FRAME_SIZE_ERROR],
            &[post(), frame(kind::RST_STREAM, 0, 1, &[0, 0, 0])],
        ),
        connection(
            "6.5 SETTINGS ACK with a payload",
            &[FRAME_SIZE_ERROR],
            &[frame(kind::SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1])],
        ),
        connection(
            "6.5 SETTINGS on a stream",
            &[PROTOCOL_ERROR],
            &[frame(kind::SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 1])],
        ),
        connection(
            "6.5 SETTINGS of another length",
            &[FRAME_SIZE_ERROR],
            &[frame(kind::SETTINGS, 0, 0, &[0, 3, 0])],
        ),
        connection("6.5.2 ENABLE_PUSH of 2", &[PROTOCOL_ERROR], &[Frame::settings(&[(2, 2)])]),
        connection(
            "6.5.2 a window above the maximum",
            &[FLOW_CONTROL_ERROR],
            &[Frame::settings(&[(4, 1 << 31)])],
        ),
        connection(
            "6.5.2 a frame size below the least",
            &[PROTOCOL_ERROR],
            &[Frame::settings(&[(5, 16_383)])],
        ),
        connection(
            "6.5.2 a frame size above the most",
            &[PROTOCOL_ERROR],
            &[Frame::settings(&[(5, 1 << 24)])],
        ),
        exactly(
            "6.5.3 SETTINGS are acknowledged",
            Said::SettingsAck,
            &[Frame::settings(&[(99, 1)])],
        ),
        exactly(
            "6.7 PING is answered",
            Said::PingAck(vec![3; 8]),
            &[frame(kind::PING, 0, 0, &[3; 8])],
        ),
        exactly(
            "6.7 PING ACK is not answered",
            Said::PingAck(vec![4; 8]),
            &[frame(kind::PING, ACK, 0, &[3; 8]), frame(kind::PING, 0, 0, &[4; 8])],
        ),
        connection("6.7 PING on a stream", &[PROTOCOL_ERROR], &[frame(kind::PING, 0, 1, &[3; 8])]),
        connection(
            "6.7 PING of another length",
            &[FRAME_SIZE_ERROR],
            &[frame(kind::PING, 0, 0, &[3; 6])],
        ),
        connection(
            "6.8 GOAWAY on a stream",
            &[PROTOCOL_ERROR],
            &[frame(kind::GOAWAY, 0, 1, &[0; 8])],
        ),
        connection("6.9 WINDOW_UPDATE of 0", &[PROTOCOL_ERROR], &[Frame::window(0, 0)]),
        stream(
            "6.9 WINDOW_UPDATE of 0 on a stream",
            &[PROTOCOL_ERROR],
            &[post(), Frame::window(1, 0)],
        ),
        connection(
            "6.9 WINDOW_UPDATE of another length",
            &[FRAME_SIZE_ERROR],
            &[frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
        ),
        connection(
            "6.9.1 a connection's window above the maximum",
            &[FLOW_CONTROL_ERROR],
            &[Frame::window(0, (1 << 31) - 1), Frame::window(0, (1 << 31) - 1)],
        ),
        stream(
            "6.9.1 a stream's window above the maximum",
            &[FLOW_CONTROL_ERROR],
            &[post(), Frame::window(1, (1 << 31) - 1), Frame::window(1, (1 << 31) - 1)],
        ),
        connection(
            "6.10 CONTINUATION on stream 0",
            &[PROTOCOL_ERROR],
            &[open.clone(), frame(kind::CONTINUATION, END_HEADERS, 0, &field("x", "y"))],
        ),
        connection("6.10 CONTINUATION after the end", &[PROTOCOL_ERROR], &[post(), more.clone()]),
        connection(
            "6.10 CONTINUATION after DATA",
            &[PROTOCOL_ERROR],
            &[post(), frame(kind::DATA, 0, 1, b"a"), more.clone()],
        ),
        connection(
            "8.4 PUSH_PROMISE by a client",
            &[PROTOCOL_ERROR],
            &[
                post(),
                frame(
                    kind::PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    &[&[0, 0, 0, 2][..], &head("GET", "/")].concat(),
                ),
            ],
        ),
    ]
}

pub(super) fn of_messages() -> Vec<Case> {
    let codes = &[PROTOCOL_ERROR];
    let post = |length: &str| {
        let fields = [head("POST", "/drain"), field("content-length", length)].concat();
        frame(kind::HEADERS, END_HEADERS, 1, &fields)
    };
    let data = |flags, bytes: &[u8]| frame(kind::DATA, flags, 1, bytes);
    let trailers = |flags, fields: &[u8]| frame(kind::HEADERS, END_HEADERS | flags, 1, fields);
    let good = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/hello")];
    let without = |name: &str| {
        let fields: Vec<_> = good.into_iter().filter(|(other, _)| *other != name).collect();
        request(&fields)
    };
    vec![
        exactly("8.1 a good request", Said::Response, &[Frame::get(1, "/hello")]),
        exactly(
            "8.1 trailers",
            Said::Response,
            &[Frame::post(1, "/drain"), data(0, b"a"), trailers(END_STREAM, &field("x", "y"))],
        ),
        stream(
            "8.1 trailers that do not end",
            codes,
            &[Frame::post(1, "/drain"), data(0, b"a"), trailers(0, &field("x", "y"))],
        ),
        stream(
            "8.1 trailers with a pseudo-field",
            codes,
            &[
                Frame::post(1, "/drain"),
                data(0, b"a"),
                trailers(END_STREAM, &field(":method", "GET")),
            ],
        ),
        stream("8.2.1 a name in capitals", codes, &[request_and("X-Test", "a")]),
        stream("8.2.1 a name with a space", codes, &[request_and("x test", "a")]),
        stream("8.2.1 a value with a newline", codes, &[request_and("x", "a\nb")]),
        stream("8.2.2 Connection", codes, &[request_and("connection", "keep-alive")]),
        stream("8.2.2 Transfer-Encoding", codes, &[request_and("transfer-encoding", "chunked")]),
        stream("8.2.2 TE that is not trailers", codes, &[request_and("te", "gzip")]),
        exactly("8.2.2 TE that is", Said::Response, &[request_and("te", "trailers")]),
        stream("8.3 an unknown pseudo-field", codes, &[request_and(":test", "a")]),
        stream("8.3 a response's pseudo-field", codes, &[request_and(":status", "200")]),
        stream(
            "8.3 a pseudo-field after others",
            codes,
            &[request(&[
                (":method", "GET"),
                (":scheme", "http"),
                ("x", "y"),
                (":authority", "a"),
                (":path", "/hello"),
            ])],
        ),
        stream("8.3.1 without :method", codes, &[without(":method")]),
        stream("8.3.1 without :scheme", codes, &[without(":scheme")]),
        stream("8.3.1 without :path", codes, &[without(":path")]),
        stream(
            "8.3.1 an empty :path",
            codes,
            &[request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", ""),
            ])],
        ),
        stream("8.3.1 :method twice", codes, &[request_and(":method", "GET")]),
        stream("8.3.1 :path twice", codes, &[request_and(":path", "/hello")]),
        stream(
            "8.1.1 a content-length that is too long",
            codes,
            &[post("5"), data(END_STREAM, b"abc")],
        ),
        stream(
            "8.1.1 a content-length that is too short",
            codes,
            &[post("1"), data(END_STREAM, b"abc")],
        ),
        stream(
            "8.1.1 a content-length over several DATA",
            codes,
            &[post("1"), data(0, b"abc"), data(END_STREAM, b"abc")],
        ),
        connection(
            "7541 2.3.3 an index that is not there",
            &[COMPRESSION_ERROR],
            &[frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe + 20])],
        ),
        connection(
            "7541 4.2 a table size after fields",
            &[COMPRESSION_ERROR],
            &[frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[head("GET", "/hello"), vec![0x20]].concat(),
            )],
        ),
        connection(
            "7541 5.2 Huffman with the end symbol",
            &[COMPRESSION_ERROR],
            &[frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0xff, 0xff, 0xff, 0xff],
            )],
        ),
        connection(
            "7541 6.1 index 0",
            &[COMPRESSION_ERROR],
            &[frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x80])],
        ),
        connection(
            "7541 6.3 a table size above the limit",
            &[COMPRESSION_ERROR],
            &[frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[&[0x3f, 0xe2, 0xff, 0x7f][..], &head("GET", "/hello")].concat(),
            )],
        ),
    ]
}
