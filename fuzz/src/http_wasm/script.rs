//! Scripts for the test guest, and what is known of them beforehand.

use std::fmt::Write as _;

use crate::input::Input;

/// Commands in each half.
const MOST: usize = 40;

#[derive(Default)]
pub(super) struct Script {
    pub(super) before: String,
    pub(super) after: String,
    pub(super) writes_requests: bool,
    pub(super) writes_responses: bool,
    pub(super) answers: bool,
    pub(super) sets_status: bool,
}

impl Script {
    pub(super) fn read(input: &mut Input<'_>) -> Self {
        let mut script = Self::default();
        script.before = script.half(input);
        script.after = script.half(input);
        script
    }

    /// Up to a command that ends it.
    fn half(&mut self, input: &mut Input<'_>) -> String {
        let mut half = String::new();
        for _ in 0..MOST {
            match input.next() {
                None | Some(255) => break,
                Some(byte) => {
                    let command = self.command(byte, input);
                    let _ = write!(half, "{command};");
                }
            }
        }
        half
    }

    fn command(&mut self, byte: u8, input: &mut Input<'_>) -> String {
        match byte % 44 {
            0 => "trap".into(),
            1 => format!("exit {}", input.byte() % 3),
            2 => {
                self.answers = true;
                "answer".into()
            }
            3 => {
                self.answers = true;
                format!("next {} {}", number(input), number(input))
            }
            4 => format!("print {}", word(input)),
            5 | 6 => format!("features {}", input.byte() % 9),
            7 => format!("config {}", limit(input)),
            8 => format!("log {} {}", i32::from(input.byte() % 8) - 2, word(input)),
            9 => format!("enabled {}", i32::from(input.byte() % 8) - 2),
            10 => format!("method {}", limit(input)),
            11 => format!("set_method {}", word(input)),
            12 => format!("uri {}", limit(input)),
            13 => format!("set_uri {}", word(input)),
            14 => format!("version {}", limit(input)),
            15 => format!("source {}", limit(input)),
            16 => "status".into(),
            17 => {
                self.sets_status = true;
                format!("set_status {}", number(input))
            }
            18 => format!("names {} {}", kind(input), limit(input)),
            19 => format!("values {} {} {}", kind(input), name(input), limit(input)),
            20 | 21 => format!("set {} {} {}", kind(input), name(input), word(input)),
            22 | 23 => format!("add {} {} {}", kind(input), name(input), word(input)),
            24 => format!("remove {} {}", kind(input), name(input)),
            25 => {
                format!("stuff {} {} {}", kind(input), u32::from(input.byte()) * 20, limit(input))
            }
            26 => format!("read {} {}", kind(input), limit(input)),
            27 => format!("drink {} {}", kind(input), limit(input).max(16)),
            28 => format!("whole {} {}", kind(input), limit(input)),
            29 => format!("echo {}", self.written(input)),
            30 => format!("write {} {}", self.written(input), word(input)),
            31 => format!("write {}", self.written(input)),
            32 => format!("fill {} {}", self.written(input), u32::from(input.byte()) * 800),
            33 => "forget".into(),
            34 => "tell".into(),
            35 => "digest".into(),
            36 => "last".into(),
            _ => self.raw(input),
        }
    }

    /// Any function with any numbers.
    fn raw(&mut self, input: &mut Input<'_>) -> String {
        let (function, args) = match input.byte() % 15 {
            0 => ("get_config", 2),
            1 => ("log", 3),
            2 => ("get_header_names", 3),
            3 => ("get_header_values", 5),
            4 => ("set_header_value", 5),
            5 => ("add_header_value", 5),
            6 => ("remove_header", 3),
            7 => ("read_body", 3),
            8 => ("write_body", 3),
            9 => ("get_method", 2),
            10 => ("set_method", 2),
            11 => ("get_uri", 2),
            12 => ("set_uri", 2),
            13 => ("get_protocol_version", 2),
            _ => ("get_source_addr", 2),
        };
        if function == "write_body" {
            (self.writes_requests, self.writes_responses) = (true, true);
        }
        let mut command = format!("raw {function}");
        for _ in 0..args {
            let _ = write!(command, " {}", number(input));
        }
        command
    }

    /// Of a body that is written.
    fn written(&mut self, input: &mut Input<'_>) -> u32 {
        let kind = kind(input);
        self.writes_requests |= kind == 0;
        self.writes_responses |= kind == 1;
        kind
    }
}

/// Requests, responses, trailers, and what is none.
fn kind(input: &mut Input<'_>) -> u32 {
    match input.byte() {
        255 => u32::MAX,
        byte => u32::from(byte) % 5,
    }
}

/// Of a buffer that the guest makes.
fn limit(input: &mut Input<'_>) -> u32 {
    let byte = u32::from(input.byte());
    byte << (byte >> 5)
}

/// A number, or where something may be in its memory, or behind it.
fn number(input: &mut Input<'_>) -> u32 {
    let byte = u32::from(input.byte());
    match byte % 16 {
        0..5 => byte / 16,
        5 => byte * 4,
        6 => 65_535,
        7 => 65_536,
        8 => 1 << 20,
        9 => (1 << 20) + byte,
        10 => (17 << 16) - byte / 16,
        11 => 4 << 20,
        12 => 1 << 31,
        13 => u32::MAX - byte / 16,
        14 => (1 << 20) + byte * 256,
        _ => byte,
    }
}

fn name(input: &mut Input<'_>) -> String {
    let names = [
        "x-a",
        "x-b",
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "x-request",
        "set-cookie",
        "trailer",
        "te",
        "proxy-status",
        "x-behind",
        "%",
        "a%20b",
        "%0A",
        ":path",
        "%C3%A9",
        "upgrade",
    ];
    names[usize::from(input.byte()) % names.len()].to_owned()
}

/// Bytes, or what means something somewhere.
fn word(input: &mut Input<'_>) -> String {
    let byte = input.byte();
    let words = [
        "%",
        "GET",
        "HEAD",
        "CONNECT",
        "/",
        "/other?q",
        "http://b/",
        "*",
        "5",
        "0",
        "100000",
        "chunked",
        "close",
        "keep-alive,%20x-a",
        "a%0D%0Ab:%20c",
        "%00",
        "%FF%FE",
        "value",
    ];
    match words.get(usize::from(byte)) {
        Some(word) => (*word).to_owned(),
        None => {
            let bytes = input.bytes(usize::from(byte) / 16);
            bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
        }
    }
}
