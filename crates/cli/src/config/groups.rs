//! The grouped options of `wasmtime serve`: `-S` (WASI), `-W` (WebAssembly) and `-C` (code generation).
//!
//! Each occurrence is a comma-separated list, `-S cli,http`, of keys that may carry a value, `-W timeout=2s`. A key that
//! means nothing here is an error: an option that silently does nothing is worse than one that is missing.

use std::path::PathBuf;
use std::str::FromStr;

use crate::config::values::{NonZeroTime, Size, deserialize_from_text};

/// What may stand behind `-S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wasi {
    pub(crate) cli: Option<bool>,
    pub(crate) http: Option<bool>,
    pub(crate) p3: Option<bool>,
    pub(crate) config: Option<bool>,
    pub(crate) keyvalue: Option<bool>,
    pub(crate) config_var: Vec<(String, String)>,
    pub(crate) keyvalue_in_memory_data: Vec<(String, String)>,
}

/// What may stand behind `-W`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wasm {
    pub(crate) timeout: Option<NonZeroTime>,
    pub(crate) max_memory_size: Option<Size>,
    pub(crate) component_model_async: Option<bool>,
}

/// What may stand behind `-C`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Codegen {
    pub(crate) cache: Option<bool>,
    pub(crate) cache_config: Option<PathBuf>,
}

/// An option group: read one key at a time, and laid over another of its kind.
pub(crate) trait Group: Default {
    /// The flag's letter.
    const LETTER: char;
    /// Every key it takes, for the error about any other.
    const ACCEPTED: &str;

    /// Takes one `key[=value]`; `Ok(false)` if the key is unknown.
    fn take(&mut self, key: &str, value: Option<&str>) -> Result<bool, String>;

    /// Lays a later occurrence of the same flag over this one.
    fn absorb(&mut self, later: Self);

    /// Adds up the occurrences of one flag.
    fn sum(occurrences: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for occurrence in occurrences {
            sum.absorb(occurrence);
        }
        sum
    }

    /// Reads one occurrence, a comma-separated list.
    fn read(text: &str) -> Result<Self, String> {
        let letter = Self::LETTER;
        let mut group = Self::default();
        for item in text.split(',') {
            let (key, value) = match item.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (item, None),
            };
            let known = group
                .take(key, value)
                .map_err(|expected| format!("-{letter} {item}: {expected}"))?;
            if !known {
                return Err(format!(
                    "unknown option -{letter} {key}; accepted are {}",
                    Self::ACCEPTED
                ));
            }
        }
        Ok(group)
    }
}

impl Group for Wasi {
    const LETTER: char = 'S';
    const ACCEPTED: &str = "cli, http, p3 (always on), config, keyvalue (each alone or with =y or =n), \
                            config-var=NAME=VALUE, keyvalue-in-memory-data=KEY=VALUE";

    fn take(&mut self, key: &str, value: Option<&str>) -> Result<bool, String> {
        match key {
            "cli" => self.cli = Some(always(value)?),
            "http" => self.http = Some(always(value)?),
            "p3" => self.p3 = Some(always(value)?),
            "config" => self.config = Some(switch(value)?),
            "keyvalue" => self.keyvalue = Some(switch(value)?),
            "config-var" => self.config_var.push(pair(value)?),
            "keyvalue-in-memory-data" => self.keyvalue_in_memory_data.push(pair(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn absorb(&mut self, later: Self) {
        self.cli = later.cli.or(self.cli);
        self.http = later.http.or(self.http);
        self.p3 = later.p3.or(self.p3);
        self.config = later.config.or(self.config);
        self.keyvalue = later.keyvalue.or(self.keyvalue);
        self.config_var.extend(later.config_var);
        self.keyvalue_in_memory_data.extend(later.keyvalue_in_memory_data);
    }
}

impl Group for Wasm {
    const LETTER: char = 'W';
    const ACCEPTED: &str =
        "timeout=DURATION, max-memory-size=SIZE, component-model-async (always on)";

    fn take(&mut self, key: &str, value: Option<&str>) -> Result<bool, String> {
        match key {
            "timeout" => self.timeout = Some(required(value)?.parse()?),
            "max-memory-size" => self.max_memory_size = Some(required(value)?.parse()?),
            "component-model-async" => self.component_model_async = Some(always(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn absorb(&mut self, later: Self) {
        self.timeout = later.timeout.or(self.timeout);
        self.max_memory_size = later.max_memory_size.or(self.max_memory_size);
        self.component_model_async = later.component_model_async.or(self.component_model_async);
    }
}

impl Group for Codegen {
    const LETTER: char = 'C';
    const ACCEPTED: &str = "cache (alone or with =y or =n), cache-config=PATH";

    fn take(&mut self, key: &str, value: Option<&str>) -> Result<bool, String> {
        match key {
            "cache" => self.cache = Some(switch(value)?),
            "cache-config" => self.cache_config = Some(required(value)?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn absorb(&mut self, later: Self) {
        self.cache = later.cache.or(self.cache);
        self.cache_config = later.cache_config.or(self.cache_config.take());
    }
}

/// A switch for what is always provided here.
fn always(value: Option<&str>) -> Result<bool, String> {
    match switch(value)? {
        true => Ok(true),
        false => Err("it is always provided here, it cannot be turned off".into()),
    }
}

fn switch(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("y" | "yes" | "true") => Ok(true),
        Some("n" | "no" | "false") => Ok(false),
        Some(_) => Err("expected =y, =n or no value".into()),
    }
}

fn required(value: Option<&str>) -> Result<&str, String> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| "expected a value after '='".into())
}

fn pair(value: Option<&str>) -> Result<(String, String), String> {
    value
        .and_then(|value| value.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected =NAME=VALUE".into())
}

macro_rules! from_str {
    ($($group:ty),+) => {$(
        impl FromStr for $group {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::read(text)
            }
        }
    )+};
}

from_str!(Wasi, Wasm, Codegen);
deserialize_from_text!(Wasi, Wasm, Codegen);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lists_values_and_switches() {
        let wasi = Wasi::sum(vec![
            "cli,http=y,p3,config".parse().unwrap(),
            "config=n,keyvalue=yes,config-var=a=b=c".parse().unwrap(),
            "config-var=d=,keyvalue-in-memory-data=k=v".parse().unwrap(),
        ]);
        let expected = Wasi {
            cli: Some(true),
            http: Some(true),
            p3: Some(true),
            config: Some(false),
            keyvalue: Some(true),
            config_var: vec![("a".into(), "b=c".into()), ("d".into(), String::new())],
            keyvalue_in_memory_data: vec![("k".into(), "v".into())],
        };
        assert_eq!(wasi, expected);

        let wasm: Wasm = "timeout=2,max-memory-size=64MiB,component-model-async".parse().unwrap();
        assert_eq!(wasm.timeout, Some(NonZeroTime(Duration::from_secs(2))));
        assert_eq!(wasm.max_memory_size, Some(Size(64 << 20)));
        assert_eq!(wasm.component_model_async, Some(true));

        let codegen: Codegen = "cache=n,cache-config=c.toml".parse().unwrap();
        assert_eq!(codegen.cache, Some(false));
        assert_eq!(codegen.cache_config, Some("c.toml".into()));
    }

    #[test]
    fn an_unknown_option_lists_the_known_ones() {
        assert_eq!(
            "cli,nn".parse::<Wasi>().unwrap_err(),
            "unknown option -S nn; accepted are cli, http, p3 (always on), config, keyvalue (each alone or with =y or =n), \
             config-var=NAME=VALUE, keyvalue-in-memory-data=KEY=VALUE"
        );
        assert_eq!(
            "fuel=3".parse::<Wasm>().unwrap_err(),
            "unknown option -W fuel; accepted are timeout=DURATION, max-memory-size=SIZE, \
             component-model-async (always on)"
        );
        assert_eq!(
            "compiler=winch".parse::<Codegen>().unwrap_err(),
            "unknown option -C compiler; accepted are cache (alone or with =y or =n), cache-config=PATH"
        );
        assert!("".parse::<Wasi>().unwrap_err().starts_with("unknown option -S ;"));
    }

    #[test]
    fn a_bad_value_names_the_expected_one() {
        let wasi = |text: &str| text.parse::<Wasi>().unwrap_err();
        let wasm = |text: &str| text.parse::<Wasm>().unwrap_err();
        assert_eq!(wasi("cli=maybe"), "-S cli=maybe: expected =y, =n or no value");
        let always = "it is always provided here, it cannot be turned off";
        assert_eq!(wasi("http=n"), format!("-S http=n: {always}"));
        assert_eq!(wasi("config-var=a"), "-S config-var=a: expected =NAME=VALUE");
        assert_eq!(wasm("timeout"), "-W timeout: expected a value after '='");
        assert_eq!(
            wasm("timeout=0"),
            "-W timeout=0: expected a duration above zero, such as 500ms, 2s or 5m"
        );
        assert_eq!(
            wasm("max-memory-size=lots"),
            "-W max-memory-size=lots: expected a size such as 64MiB, 1GiB or a number of bytes"
        );
    }
}
