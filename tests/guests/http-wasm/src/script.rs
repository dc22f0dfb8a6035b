//! Scripts: commands separated by `;`, of words separated by spaces. `%` and two digits are a byte.

use crate::Guest;
use crate::abi::{at, filled, raw, read};

pub(crate) struct Machine<'a> {
    guest: &'a mut Guest,
    ctx: u32,
    is_error: bool,
    next: u32,
    /// What was read of bodies.
    body: Vec<u8>,
    output: Vec<String>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(guest: &'a mut Guest, ctx: u32, is_error: bool) -> Self {
        Self { guest, ctx, is_error, next: 1, body: Vec::new(), output: Vec::new() }
    }

    pub(crate) fn run(&mut self, script: &str) {
        for command in script.split(';').filter(|command| !command.trim().is_empty()) {
            let words: Vec<&str> = command.split_whitespace().collect();
            self.step(&words);
        }
    }

    pub(crate) fn ctx_next(&self) -> u64 {
        u64::from(self.ctx) << 32 | u64::from(self.next)
    }

    pub(crate) fn into_output(self) -> Vec<String> {
        self.output
    }

    /// Puts what was put out into a header of the response.
    pub(crate) fn add_output(&self, name: &str) {
        if !self.output.is_empty() {
            let value = self.output.join(";");
            let ((name, name_len), (value, value_len)) =
                (at(name.as_bytes()), at(value.as_bytes()));
            raw::add_header_value(1, name, name_len, value, value_len);
        }
    }

    fn say(&mut self, text: impl ToString) {
        self.output.push(text.to_string());
    }

    /// A value with its length, if it fitted.
    fn say_value(&mut self, limit: u32, get: impl FnOnce(u32, u32) -> u64) {
        let (result, value) = filled(limit, get);
        let value = value.map_or("-".to_owned(), |value| encode(&value));
        self.say(format!("{result}={value}"));
    }

    /// Values with their number and their length, if they fitted.
    fn say_values(&mut self, limit: u32, get: impl FnOnce(u32, u32) -> u64) {
        let (result, values) = filled(limit, get);
        let values = values.map_or("-".to_owned(), |values| encode(&values).replace("%00", "|"));
        self.say(format!("{}/{}={values}", result >> 32, result as u32));
    }

    fn step(&mut self, words: &[&str]) {
        match *words {
            // What comes next.
            ["next", ctx] => (self.ctx, self.next) = (number(ctx), 1),
            ["next", ctx, next] => (self.ctx, self.next) = (number(ctx), number(next)),
            ["answer"] => self.next = 0,

            // The guest's own state.
            ["requests"] => self.say(self.guest.requests),
            ["keep", text] => self.guest.kept = text.to_owned(),
            ["kept"] => self.say(self.guest.kept.clone()),
            ["last"] => self.output.append(&mut self.guest.last),
            ["ctx"] => self.say(self.ctx),
            ["error"] => self.say(self.is_error),
            ["tell"] => self.add_output("x-back"),
            ["args"] => self.say(std::env::args().collect::<Vec<_>>().join(" ")),
            ["instance"] => self.say(std::env::var("INSTANCE_ID").unwrap_or_default()),

            // The end.
            ["trap"] => core::arch::wasm32::unreachable(),
            ["spin"] => loop {
                std::hint::black_box(());
            },
            ["exit", code] => std::process::exit(number(code) as i32),
            ["print", text] => println!("{text}"),

            ["features", features] => self.say(raw::enable_features(number(features))),
            ["config", limit] => {
                self.say_value(number(limit), |buf, limit| raw::get_config(buf, limit).into());
            }
            ["log", level, message] => {
                let message = decode(message);
                let (message, len) = at(&message);
                raw::log(level.parse().expect("a level"), message, len);
            }
            ["enabled", level] => self.say(raw::log_enabled(level.parse().expect("a level"))),

            ["method", limit] => {
                self.say_value(number(limit), |buf, limit| raw::get_method(buf, limit).into());
            }
            ["set_method", method] => with(method, |at, len| raw::set_method(at, len)),
            ["uri", limit] => {
                self.say_value(number(limit), |buf, limit| raw::get_uri(buf, limit).into());
            }
            ["set_uri"] => raw::set_uri(0, 0),
            ["set_uri", uri] => with(uri, |at, len| raw::set_uri(at, len)),
            ["version", limit] => self.say_value(number(limit), |buf, limit| {
                raw::get_protocol_version(buf, limit).into()
            }),
            ["source", limit] => {
                self.say_value(number(limit), |buf, limit| raw::get_source_addr(buf, limit).into());
            }
            ["status"] => self.say(raw::get_status_code()),
            ["set_status", status] => raw::set_status_code(number(status)),

            ["names", kind, limit] => self.say_values(number(limit), |buf, limit| {
                raw::get_header_names(number(kind), buf, limit)
            }),
            ["values", kind, name, limit] => {
                let name = decode(name);
                let (name, len) = at(&name);
                self.say_values(number(limit), |buf, limit| {
                    raw::get_header_values(number(kind), name, len, buf, limit)
                });
            }
            ["set", kind, name, value] => header(kind, name, value, raw::set_header_value),
            ["add", kind, name, value] => header(kind, name, value, raw::add_header_value),
            ["remove", kind, name] => {
                with(name, |name, len| raw::remove_header(number(kind), name, len));
            }
            // Adds so many headers with values of so many bytes.
            ["stuff", kind, count, len] => {
                let value = vec![b'v'; number(len) as usize];
                let (value, len) = at(&value);
                for i in 0..number(count) {
                    let name = format!("stuff-{i}");
                    let (name, name_len) = at(name.as_bytes());
                    raw::add_header_value(number(kind), name, name_len, value, len);
                }
            }

            _ => self.step_body(words),
        }
    }

    fn step_body(&mut self, words: &[&str]) {
        match *words {
            ["read", kind, limit] => {
                let (end, mut bytes) = read(number(kind), number(limit));
                self.say(format!("{}/{}", u32::from(end), bytes.len()));
                self.body.append(&mut bytes);
            }
            // To the end, so many bytes at a time.
            ["drink", kind, limit] => {
                let before = self.body.len();
                loop {
                    let (end, mut bytes) = read(number(kind), number(limit));
                    self.body.append(&mut bytes);
                    if end {
                        break;
                    }
                }
                self.say(self.body.len() - before);
            }
            // In one call, which must say that it was the end.
            ["whole", kind, limit] => {
                let (end, mut bytes) = read(number(kind), number(limit));
                if !end {
                    core::arch::wasm32::unreachable();
                }
                self.body.append(&mut bytes);
            }
            ["text"] => self.say(encode(&self.body)),
            ["digest"] => self.say(digest(&self.body)),
            ["forget"] => self.body.clear(),
            // Writes what was read.
            ["echo", kind] => {
                let (body, len) = at(&self.body);
                raw::write_body(number(kind), body, len);
            }
            ["write", kind] => raw::write_body(number(kind), 0, 0),
            ["write", kind, text] => {
                with(text, |text, len| raw::write_body(number(kind), text, len))
            }
            ["fill", kind, len] => {
                let bytes = vec![b'f'; number(len) as usize];
                let (bytes, len) = at(&bytes);
                raw::write_body(number(kind), bytes, len);
            }
            ["raw", function, ref args @ ..] => {
                let args: Vec<u32> = args.iter().map(|arg| number(arg)).collect();
                let result = call(function, &args);
                self.say(result);
            }
            _ => panic!("unknown: {words:?}"),
        }
    }
}

/// Any function with any parameters.
fn call(function: &str, args: &[u32]) -> u64 {
    match (function, args) {
        ("get_config", &[a, b]) => raw::get_config(a, b).into(),
        ("log", &[a, b, c]) => {
            raw::log(a as i32, b, c);
            0
        }
        ("get_header_names", &[a, b, c]) => raw::get_header_names(a, b, c),
        ("get_header_values", &[a, b, c, d, e]) => raw::get_header_values(a, b, c, d, e),
        ("set_header_value", &[a, b, c, d, e]) => {
            raw::set_header_value(a, b, c, d, e);
            0
        }
        ("add_header_value", &[a, b, c, d, e]) => {
            raw::add_header_value(a, b, c, d, e);
            0
        }
        ("remove_header", &[a, b, c]) => {
            raw::remove_header(a, b, c);
            0
        }
        ("read_body", &[a, b, c]) => raw::read_body(a, b, c),
        ("write_body", &[a, b, c]) => {
            raw::write_body(a, b, c);
            0
        }
        ("get_method", &[a, b]) => raw::get_method(a, b).into(),
        ("set_method", &[a, b]) => {
            raw::set_method(a, b);
            0
        }
        ("get_uri", &[a, b]) => raw::get_uri(a, b).into(),
        ("set_uri", &[a, b]) => {
            raw::set_uri(a, b);
            0
        }
        ("get_protocol_version", &[a, b]) => raw::get_protocol_version(a, b).into(),
        ("get_source_addr", &[a, b]) => raw::get_source_addr(a, b).into(),
        _ => panic!("unknown: {function} {args:?}"),
    }
}

fn number(word: &str) -> u32 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn with(word: &str, call: impl FnOnce(u32, u32)) {
    let bytes = decode(word);
    let (at, len) = at(&bytes);
    call(at, len);
}

fn header(kind: &str, name: &str, value: &str, call: extern "C" fn(u32, u32, u32, u32, u32)) {
    let (name, value) = (decode(name), decode(value));
    let ((name, name_len), (value, value_len)) = (at(&name), at(&value));
    call(number(kind), name, name_len, value, value_len);
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn encode(bytes: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'!'..=b'~' if !b"%;".contains(byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(encode).collect()
}

/// An empty word is written `%`.
fn decode(word: &str) -> Vec<u8> {
    let mut pieces = word.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let (digits, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
