mod middleware;
mod upstream;

use clap::Parser as _;

use super::*;
use crate::config::args::{Cli, Command};

/// A configuration file, removed when dropped.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "millpond-{}-{}.toml",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn flags(args: &[&str]) -> Result<Flags, clap::Error> {
    let args = ["millpond", "serve"].iter().chain(args);
    let Command::Serve(flags) = Cli::try_parse_from(args)?.command;
    Ok(*flags)
}

fn resolve(args: &[&str]) -> Result<Settings, StartError> {
    Settings::resolve_with(flags(args).unwrap(), |name| match name {
        "HOME" => Some(Ok("/home/me".into())),
        "BINARY" => Some(Err("".into())),
        _ => None,
    })
}

fn settings(args: &[&str]) -> Settings {
    resolve(args).unwrap()
}

/// Settings from this configuration file, with these flags over it.
fn with_file(text: &str, args: &[&str]) -> Settings {
    let file = File::new(text);
    settings(&[&["--config", file.path()], args].concat())
}

/// The complaint about this configuration file, without its path.
fn file_error(text: &str) -> String {
    let file = File::new(text);
    let message = resolve(&["--config", file.path()]).unwrap_err().to_string();
    message.strip_prefix(file.path()).expect("it names the file").to_owned()
}

const EVERY_FLAG: &[&str] = &[
    "app.wasm",
    "--addr=[::1]:0",
    "--admin=127.0.0.1:9090",
    "--shutdown-addr=127.0.0.1:9091",
    "--max-concurrent-connections=7",
    "--trust-proxy=10.0.0.0/8",
    "--trust-proxy=::1",
    "--strip-response-header=Server",
    "--strip-response-header=x-powered-by",
    "--min-body-rate=1kB",
    "--request-body-timeout=0",
    "--threads=2",
    "--drain-delay=5s",
    "--drain-timeout=1m",
    "--log=debug",
    "--log-format=json",
    "--no-logging-prefix",
    "--max-guest-output=1MiB",
    "--profile=profiles",
    "--coredump=dumps",
    "--max-record-files=18",
    "--max-record-bytes=19MiB",
    "--middleware=outer.wasm",
    "--middleware=inner.wasm",
    "--middleware-config=inner.toml",
    "--max-middleware-instances=17",
    "--max-middleware-buffer=18MiB",
    "--queue=0",
    "--queue-timeout=250ms",
    "--request-timeout=2s",
    "--start-timeout=3s",
    "--max-instances=10",
    "--max-memory=64MiB",
    "--max-total-memory=8GiB",
    "--max-component-size=16MiB",
    "--max-concurrent-requests=11",
    "--max-instance-reuse-count=12",
    "--max-instance-concurrent-reuse-count=13",
    "--idle-instance-timeout=0",
    "--min-idle=14",
    "--max-instance-age=1m",
    "--instance-memory-watermark=15MiB",
    "--process-memory-watermark=16GiB",
    "--env=A=1",
    "--env=HOME",
    "--env=UNSET_ON_THE_HOST",
    "--dir=src::/code",
    "-Hx-one: 1",
    "--header=x-two: 2",
    "--allow-outbound=a.example:443",
    "--allow-outbound=b.example",
    "--deny-private",
    "--max-outbound=17",
    "--max-files=18",
    "-Scli,http",
    "-S",
    "keyvalue=n,config-var=k=v",
    "-Wcomponent-model-async",
    "-C",
    "cache=n,cache-config=cache.toml",
];

const EVERY_KEY: &str = r#"
    component = "app.wasm"
    addr = "[::1]:0"
    admin = "127.0.0.1:9090"
    shutdown-addr = "127.0.0.1:9091"
    max-concurrent-connections = 7
    trust-proxy = ["10.0.0.0/8", "::1"]
    strip-response-header = ["Server", "x-powered-by"]
    min-body-rate = 1000
    request-body-timeout = 0
    threads = 2
    drain-delay = "5s"
    drain-timeout = "1m"
    log = "debug"
    log-format = "json"
    no-logging-prefix = true
    max-guest-output = "1MiB"
    profile = "profiles"
    coredump = "dumps"
    max-record-files = 18
    max-record-bytes = "19MiB"
    max-middleware-instances = 17
    max-middleware-buffer = "18MiB"
    queue = 0
    queue-timeout = "250ms"
    request-timeout = 2
    start-timeout = "3s"
    max-instances = 10
    max-memory = "64MiB"
    max-total-memory = "8GiB"
    max-component-size = "16MiB"
    max-concurrent-requests = 11
    max-instance-reuse-count = 12
    max-instance-concurrent-reuse-count = 13
    idle-instance-timeout = 0
    min-idle = 14
    max-instance-age = "1m"
    instance-memory-watermark = "15MiB"
    process-memory-watermark = "16GiB"
    env = ["A=1", "HOME", "UNSET_ON_THE_HOST"]
    dir = ["src::/code"]
    header = ["x-one: 1", "x-two: 2"]
    allow-outbound = ["a.example:443", "b.example"]
    deny-private = true
    max-outbound = 17
    max-files = 18
    wasi = ["cli,http", "keyvalue=n,config-var=k=v"]
    wasm = ["component-model-async"]
    codegen = ["cache=n,cache-config=cache.toml"]
    [[middleware]]
    module = "outer.wasm"
    [[middleware]]
    module = "inner.wasm"
    config = "inner.toml"
"#;

fn everything() -> Settings {
    Settings {
        component: Some("app.wasm".into()),
        upstream: None,
        addr: "[::1]:0".parse().unwrap(),
        admin: Some("127.0.0.1:9090".parse().unwrap()),
        shutdown_addr: Some("127.0.0.1:9091".parse().unwrap()),
        max_concurrent_connections: 7,
        trust_proxy: vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        strip_response_header: vec![
            HeaderName::from_static("server"),
            HeaderName::from_static("x-powered-by"),
        ],
        pacing: Pacing { min_body_rate: 1000, request_body_timeout: None },
        threads: Some(2),
        drain_delay: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(60),
        log: "debug".into(),
        log_format: LogFormat::Json,
        logging_prefix: false,
        max_guest_output: Some(1 << 20),
        profile: Some("profiles".into()),
        coredump: Some("dumps".into()),
        max_record_files: Some(18),
        max_record_bytes: Some(19 << 20),
        middleware: vec![
            Middleware { module: "outer.wasm".into(), config: None },
            Middleware { module: "inner.wasm".into(), config: Some("inner.toml".into()) },
        ],
        max_middleware_instances: Some(17),
        max_middleware_buffer: Some(18 << 20),
        queue: Some(0),
        queue_timeout: Some(Duration::from_millis(250)),
        request_timeout: Some(Duration::from_secs(2)),
        start_timeout: Some(Duration::from_secs(3)),
        idle_instance_timeout: Some(Duration::ZERO),
        max_instances: Some(10),
        max_memory: Some(64 << 20),
        max_total_memory: Some(8 << 30),
        max_component_size: Some(16 << 20),
        max_concurrent_requests: Some(11),
        max_instance_reuse_count: Some(12),
        max_instance_concurrent_reuse_count: Some(13),
        min_idle: Some(14),
        max_instance_age: Some(Duration::from_secs(60)),
        instance_memory_watermark: Some(15 << 20),
        process_memory_watermark: Some(16 << 30),
        env: vec![("A".into(), "1".into()), ("HOME".into(), "/home/me".into())],
        dirs: vec!["src::/code".parse().unwrap()],
        headers: vec![
            (HeaderName::from_static("x-one"), HeaderValue::from_static("1")),
            (HeaderName::from_static("x-two"), HeaderValue::from_static("2")),
        ],
        allow_outbound: Some(vec!["a.example:443".parse().unwrap(), "b.example".parse().unwrap()]),
        deny_private: true,
        max_outbound: Some(17),
        max_files: Some(18),
        wasi: Wasi {
            cli: Some(true),
            http: Some(true),
            keyvalue: Some(false),
            config_var: vec![("k".into(), "v".into())],
            ..Wasi::default()
        },
        component_model_async: Some(true),
        codegen: Codegen { cache: Some(false), cache_config: Some("cache.toml".into()) },
    }
}

#[test]
fn every_flag_arrives() {
    assert_eq!(settings(EVERY_FLAG), everything());
}

#[test]
fn every_flag_has_its_key() {
    assert_eq!(with_file(EVERY_KEY, &[]), everything());
}

#[test]
fn every_flag_wins_over_every_key() {
    let other = r#"
        component = "other.wasm"
        addr = "127.0.0.1:1"
        admin = "127.0.0.1:1"
        shutdown-addr = "127.0.0.1:1"
        max-concurrent-connections = 1
        trust-proxy = ["192.0.2.1"]
        strip-response-header = ["x-other"]
        threads = 1
        drain-delay = 1
        drain-timeout = 1
        log = "error"
        log-format = "text"
        no-logging-prefix = false
        max-guest-output = 0
        profile = "other"
        coredump = "other"
        max-record-files = 1
        max-record-bytes = "1MiB"
        middleware = [{ module = "other.wasm" }]
        max-middleware-instances = 1
        max-middleware-buffer = "1MiB"
        queue = 1
        queue-timeout = 1
        request-timeout = 1
        start-timeout = 1
        max-instances = 1
        max-memory = "1MiB"
        max-concurrent-requests = 1
        max-instance-reuse-count = 1
        max-instance-concurrent-reuse-count = 1
        idle-instance-timeout = 1
        env = ["B=2"]
        dir = ["tests"]
        header = ["x-three: 3"]
        allow-outbound = []
        wasi = ["keyvalue,config-var=other=1"]
        wasm = ["component-model-async"]
        codegen = ["cache,cache-config=other.toml"]
    "#;
    assert_eq!(with_file(other, EVERY_FLAG), everything());
}

#[test]
fn nothing_given_means_the_defaults() {
    let expected = Settings {
        component: None,
        upstream: None,
        addr: "127.0.0.1:8080".parse().unwrap(),
        admin: None,
        shutdown_addr: None,
        max_concurrent_connections: 10_000,
        trust_proxy: vec![],
        strip_response_header: vec![],
        pacing: Pacing { min_body_rate: 240, request_body_timeout: Some(Duration::from_secs(300)) },
        threads: None,
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(30),
        log: "warn,millpond=info".into(),
        log_format: LogFormat::Text,
        logging_prefix: true,
        max_guest_output: None,
        profile: None,
        coredump: None,
        max_record_files: None,
        max_record_bytes: None,
        middleware: vec![],
        max_middleware_instances: None,
        max_middleware_buffer: None,
        queue: None,
        queue_timeout: None,
        request_timeout: None,
        start_timeout: None,
        idle_instance_timeout: None,
        max_instances: None,
        max_memory: None,
        max_total_memory: None,
        max_component_size: None,
        max_concurrent_requests: None,
        max_instance_reuse_count: None,
        max_instance_concurrent_reuse_count: None,
        min_idle: None,
        max_instance_age: None,
        instance_memory_watermark: None,
        process_memory_watermark: None,
        env: vec![],
        dirs: vec![],
        headers: vec![],
        allow_outbound: None,
        deny_private: false,
        max_outbound: None,
        max_files: None,
        wasi: Wasi::default(),
        component_model_async: None,
        codegen: Codegen::default(),
    };
    assert_eq!(settings(&[]), expected);
    assert_eq!(with_file("", &[]), expected);
}

#[test]
fn both_spellings_of_a_limit_mean_the_same() {
    let expected = (Some(Duration::from_secs(2)), Some(64 << 20));
    let read = |settings: Settings| (settings.request_timeout, settings.max_memory);
    assert_eq!(read(settings(&["-Wtimeout=2s,max-memory-size=67108864"])), expected);

    // A flag wins over the file, whichever spelling either of them uses.
    let group = r#"wasm = ["timeout=9s,max-memory-size=9MiB"]"#;
    let plain = "request-timeout = 9\nmax-memory = '9MiB'";
    let grouped_flags = ["-Wtimeout=2s", "-Wmax-memory-size=64MiB"];
    let plain_flags = ["--request-timeout=2s", "--max-memory=64MiB"];
    assert_eq!(read(with_file(group, &plain_flags)), expected);
    assert_eq!(read(with_file(plain, &grouped_flags)), expected);

    let error = resolve(&["--request-timeout=2s", "-Wtimeout=3s"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--request-timeout and -W timeout mean the same: give one of them"
    );
    assert_eq!(
        file_error("max-memory = '1MiB'\nwasm = ['max-memory-size=2MiB']"),
        ": --max-memory and -W max-memory-size mean the same: give one of them"
    );
}

#[test]
fn an_empty_outbound_list_allows_no_host() {
    assert_eq!(with_file("allow-outbound = []", &[]).allow_outbound, Some(vec![]));
}

#[test]
fn the_help_fits_the_command() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
