//! What may stand behind a flag: durations, sizes, counts, addresses and the like.
//!
//! Every type here reads itself from text, and says in one sentence what it expected. The configuration file uses the
//! same readers, so that a value means the same in both places; there, a whole number needs no quotes.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize as _;
use serde::de::{Deserializer, Visitor};

/// A duration: `500ms`, `2s`, `5m`; a number without a unit is in seconds. Zero is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A [`Time`] above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NonZeroTime(pub(crate) Duration);

/// Longer times overflow the clocks of some systems, and have no use.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            // Both code points that look like a micro sign.
            Err(_) => humantime::parse_duration(&text.replace(['μ', 'µ'], "u")).ok(),
        };
        time.filter(|time| *time <= LONGEST).map(Self).ok_or_else(|| {
            "expected a duration such as 500ms, 2s or 5m (a plain number is in seconds)".into()
        })
    }
}

impl FromStr for NonZeroTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Time(Duration::ZERO) => {
                Err("expected a duration above zero, such as 500ms, 2s or 5m".into())
            }
            Time(time) => Ok(Self(time)),
        }
    }
}

/// An amount of memory in bytes: `64MiB`, `1GiB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// WebAssembly memory comes in pages of this many bytes; less than one is a unit forgotten.
const PAGE: u64 = 64 * 1024;

const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = size_in_bytes(text)
            .ok_or("expected a size such as 64MiB, 1GiB or a number of bytes")?;
        if bytes < PAGE {
            return Err(
                "expected at least 64KiB, one page of WebAssembly memory, such as 64MiB".into()
            );
        }
        Ok(Self(bytes))
    }
}

/// Bytes in a second; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        size_in_bytes(text)
            .map(Self)
            .ok_or_else(|| "expected bytes a second, such as 240 or 10kB (0: any)".into())
    }
}

fn size_in_bytes(text: &str) -> Option<u64> {
    // Underscores and hexadecimal as in `-W max-memory-size` of wasmtime.
    let text = text.replace('_', "");
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim() {
        "" | "B" => 1,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A number of at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<NonZeroUsize>()
            .map(|count| Self(count.get()))
            .map_err(|_| "expected a whole number of at least 1".into())
    }
}

/// The number of threads; more than a machine could have is a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads(pub(crate) usize);

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(threads @ 1..=1024) => Ok(Self(threads)),
            _ => Err("expected a whole number from 1 to 1024".into()),
        }
    }
}

/// The length of the queue; zero means that nothing waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLength(pub(crate) usize);

impl FromStr for QueueLength {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| "expected a whole number of requests (0: nothing waits)".into())
    }
}

/// How many spares are kept; zero means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spares(pub(crate) usize);

impl FromStr for Spares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "expected a whole number of instances (0: none)".into())
    }
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            "expected IP:PORT, such as 127.0.0.1:8080 or [::1]:8080 (port 0: any free one)".into()
        })
    }
}

/// `K=V`, or `K` to take the host's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvVar {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl FromStr for EnvVar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || text.contains('\0') {
            return Err("expected NAME or NAME=VALUE".into());
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

/// A host directory and the path at which guests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dir {
    /// The directory on this machine.
    pub(crate) host: PathBuf,
    /// Its name in the guest.
    pub(crate) guest: String,
    /// Whether guests may only read it.
    pub(crate) read_only: bool,
}

impl FromStr for Dir {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split("::").collect();
        let (host, guest, read_only) = match parts[..] {
            [host] => (host, host, false),
            [host, guest] => (host, guest, false),
            [host, guest, "ro"] => (host, guest, true),
            _ => ("", "", false),
        };
        // `A::ro` would be a directory that can be written to, by that name.
        if host.is_empty() || guest.is_empty() || ["ro", "rw"].contains(&guest) {
            return Err(
                "expected HOST, HOST::GUEST or HOST::GUEST::ro, such as ./static::/static::ro"
                    .into(),
            );
        }
        Ok(Self { host: host.into(), guest: guest.to_owned(), read_only })
    }
}

/// A directory for profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileDir(pub(crate) PathBuf);

impl FromStr for ProfileDir {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What the flag of this name takes in wasmtime. Taken for a directory, it would be ignored.
        let word = text.split(',').next().unwrap_or_default();
        if ["perfmap", "jitdump", "vtune", "pulley", "guest"].contains(&word) {
            return Err(format!(
                "expected a directory for profiles of each guest, such as ./{word}"
            ));
        }
        if text.is_empty() {
            return Err("expected a directory".into());
        }
        Ok(Self(text.into()))
    }
}

/// Where guests may send requests: a host, and the one port if given; or a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outbound {
    /// In lower case; an IPv6 address stands without brackets; a range as it was given.
    pub(crate) host: String,
    /// Every port, if `None`.
    pub(crate) port: Option<u16>,
}

impl FromStr for Outbound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        outbound(text).ok_or_else(|| {
            "expected HOST, HOST:PORT or ADDRESS/BITS, such as api.example.com:443 or 10.0.0.0/8, without scheme, path or wildcard".into()
        })
    }
}

fn outbound(text: &str) -> Option<Outbound> {
    if text.contains('/') {
        // Nothing else that has a slash is one.
        text.parse::<millpond::Destination>().ok()?;
        return Some(Outbound { host: text.to_owned(), port: None });
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
        (host, port)
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(named) {
            return None;
        }
        (host, port)
    };
    let port = match port {
        Some(port) => Some(port.parse::<NonZeroU16>().ok()?.get()),
        None => None,
    };
    Some(Outbound { host: host.to_ascii_lowercase(), port })
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// Lets a type that reads itself from text stand in the configuration file, as a string or as a whole number.
pub(crate) fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = String>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a whole number")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse()
                .map_err(|expected| E::custom(format_args!("invalid value '{text}': {expected}")))
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    deserializer.deserialize_any(Text(PhantomData))
}

/// Reads a path from the configuration file: as on the command line, an empty one is refused.
pub(crate) fn path<'de, P, D>(deserializer: D) -> Result<P, D::Error>
where
    P: From<PathBuf>,
    D: Deserializer<'de>,
{
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(serde::de::Error::custom("invalid value '': expected a path"));
    }
    Ok(path.into())
}

macro_rules! deserialize_from_text {
    ($($type:ty),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::config::values::from_text(deserializer)
            }
        }
    )+};
}
pub(crate) use deserialize_from_text;

deserialize_from_text!(
    Time,
    NonZeroTime,
    Size,
    Rate,
    Count,
    Threads,
    QueueLength,
    Spares,
    Address,
    EnvVar,
    Dir,
    ProfileDir,
    Outbound
);

#[cfg(test)]
mod tests;
