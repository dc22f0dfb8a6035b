//! The command line.
//!
//! [`Flags`] is also the shape of the configuration file: every flag is there under the same name, and neither place can
//! grow a knob that the other lacks.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

use crate::config::edge::{Proxy, Stripped};
use crate::config::groups::{Codegen, Group, Wasi, Wasm};
use crate::config::header::HeaderArg;
use crate::config::middleware::MiddlewareFlags;
use crate::config::origin::Origin;
use crate::config::values::{
    Address, Count, Dir, EnvVar, LogFormat, NonZeroTime, Outbound, ProfileDir, QueueLength, Rate,
    Size, Spares, Threads, Time, path,
};
use crate::error::StartError;

/// Serves wasi:http components from pools of WebAssembly instances.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a component over HTTP, or another HTTP server, with middleware in front if there is some.
    ///
    /// Durations read 500ms, 2s or 5m, a plain number is in seconds. Sizes read 64MiB or 1GiB, a plain number is in
    /// bytes. SIGTERM and SIGINT finish what runs and exit; a second one exits at once.
    Serve(Box<Flags>),
}

/// Everything that can be set, as given: on the command line, or in the configuration file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Server")]
pub(crate) struct Flags {
    /// The component to serve [default: a built-in demo]
    #[arg(value_name = "COMPONENT", help_heading = None)]
    #[serde(deserialize_with = "path")]
    pub(crate) component: Option<PathBuf>,

    /// Be a proxy in front of this HTTP server, with no component
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<Origin>,

    /// Read settings from this TOML file
    ///
    /// Its keys are the names below; a flag wins over the file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,

    /// Listen here [default: 127.0.0.1:8080]
    ///
    /// Port 0 takes any free one.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) addr: Option<Address>,

    /// Serve metrics and health here [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) admin: Option<Address>,

    /// Shut down gracefully when a client connects here [default: nowhere]
    #[arg(long, value_name = "IP:PORT", hide_short_help = true)]
    pub(crate) shutdown_addr: Option<Address>,

    /// Connections held open at once; further ones wait to be accepted [default: 10000, or what the descriptors allow]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) max_concurrent_connections: Option<Count>,

    /// Believe what these proxies say of the client (repeatable)
    ///
    /// X-Forwarded-For and the like, from this address or each in this network. From others these headers are removed.
    #[arg(long, value_name = "IP[/BITS]")]
    pub(crate) trust_proxy: Vec<Proxy>,

    /// Remove this header from each response of a component, middleware or upstream (repeatable)
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) strip_response_header: Vec<Stripped>,

    /// Bytes a second that a client has to send of a body that is waited for, and to take of one that waits, after 30
    /// seconds; 0: any [default: 240]
    #[arg(long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) min_body_rate: Option<Rate>,

    /// How long the body of a request may take to come; 0: as long as it likes [default: 5m]
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) request_body_timeout: Option<Time>,

    /// Threads that serve [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<Threads>,

    /// After the signal, go on as before for so long, so that load balancers notice [default: 0s]
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) drain_delay: Option<Time>,

    /// When told to end, wait so long for what runs [default: 30s]
    ///
    /// It begins after --drain-delay.
    #[arg(long, value_name = "DURATION")]
    pub(crate) drain_timeout: Option<Time>,

    /// What to log [default: warn,millpond=info]
    ///
    /// TARGET=LEVEL,...
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How to log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// Do not prefix guest output with its instance and request
    #[arg(long, hide_short_help = true)]
    pub(crate) no_logging_prefix: bool,

    /// What an instance may print in a second, four times as much at once; 0: no limit [default: 256KiB]
    #[arg(long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) max_guest_output: Option<Rate>,

    /// Write a profile of each instance into this directory
    ///
    /// A Firefox profile, of each instance of the component, when it ends.
    #[arg(long, value_name = "DIR")]
    pub(crate) profile: Option<ProfileDir>,

    /// Write core dumps of instances that trap into this directory
    ///
    /// Of instances of the component.
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "path")]
    pub(crate) coredump: Option<PathBuf>,

    /// Files that this process writes into each of those directories at most [default: 100]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) max_record_files: Option<Count>,

    /// Bytes of all files in each of them at most [default: 1GiB]
    #[arg(long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) max_record_bytes: Option<Size>,

    #[command(flatten)]
    pub(crate) middleware: MiddlewareFlags,

    /// Instances of each middleware alive at once; a request on its way through holds one [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Middleware", hide_short_help = true)]
    pub(crate) max_middleware_instances: Option<Count>,

    /// Bytes of bodies that are held for middleware, all of them together [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Middleware", hide_short_help = true)]
    pub(crate) max_middleware_buffer: Option<Size>,

    /// Requests that may wait for an instance [default: 1024]
    ///
    /// Of each pool, or for the upstream; 0: none.
    #[arg(long, value_name = "N", help_heading = "Pool")]
    pub(crate) queue: Option<QueueLength>,

    /// How long a request may wait for that [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = "Pool")]
    pub(crate) queue_timeout: Option<Time>,

    /// How long a response head may take [default: 30s]
    ///
    /// That of a component or the upstream; of a middleware, each of its calls. Also -W timeout=
    #[arg(long, value_name = "DURATION", help_heading = "Pool")]
    pub(crate) request_timeout: Option<NonZeroTime>,

    /// How long an instance may take to start [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Pool", hide_short_help = true)]
    pub(crate) start_timeout: Option<NonZeroTime>,

    /// Instances alive at once [default: 1000]
    ///
    /// Those of the component. If the allocator holds fewer, that many.
    #[arg(long, value_name = "N", help_heading = "Pool")]
    pub(crate) max_instances: Option<Count>,

    /// Memory of one instance [default: 256MiB]
    ///
    /// Also -W max-memory-size=
    #[arg(long, value_name = "SIZE", help_heading = "Pool")]
    pub(crate) max_memory: Option<Size>,

    /// Memory of all instances [default: 3/4 of the machine's]
    ///
    /// Beyond it none grows, and starts wait.
    #[arg(long, value_name = "SIZE", help_heading = "Pool")]
    pub(crate) max_total_memory: Option<Size>,

    /// Size of the component's file [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Pool", hide_short_help = true)]
    pub(crate) max_component_size: Option<Size>,

    /// Requests that run at once; the rest queues
    ///
    /// In the component, or at the upstream [default: component: no limit of its own, upstream: 1000].
    #[arg(long, value_name = "N", help_heading = "Pool")]
    pub(crate) max_concurrent_requests: Option<Count>,

    /// Requests of one instance in its life [default: 0.2: 1, 0.3: 97-128]
    ///
    /// Those of the component. The default of 0.3 is drawn at random, so that not all end at once; a number that is
    /// given is exact.
    #[arg(long, value_name = "N", help_heading = "Pool")]
    pub(crate) max_instance_reuse_count: Option<Count>,

    /// Requests that one instance of the component serves at a time; 0.2 guests always take one [default: 0.3: 16]
    #[arg(long, value_name = "N", help_heading = "Pool", hide_short_help = true)]
    pub(crate) max_instance_concurrent_reuse_count: Option<Count>,

    /// How long an idle instance is kept [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Pool")]
    pub(crate) idle_instance_timeout: Option<Time>,

    /// Instances kept ready for new requests [default: 0]
    ///
    /// Of the component; they are made off the request path.
    #[arg(long, value_name = "N", help_heading = "Pool")]
    pub(crate) min_idle: Option<Spares>,

    /// How old an instance may become; then it finishes what it has [default: no limit]
    #[arg(long, value_name = "DURATION", help_heading = "Pool", hide_short_help = true)]
    pub(crate) max_instance_age: Option<NonZeroTime>,

    /// End an instance after its requests once it holds more than this [default: no limit]
    #[arg(long, value_name = "SIZE", help_heading = "Pool", hide_short_help = true)]
    pub(crate) instance_memory_watermark: Option<Size>,

    /// End idle instances while the process has more than this [default: no limit]
    #[arg(long, value_name = "SIZE", help_heading = "Pool", hide_short_help = true)]
    pub(crate) process_memory_watermark: Option<Size>,

    /// Set a variable in the guest, or pass the host's (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Guest")]
    pub(crate) env: Vec<EnvVar>,

    /// Give the guest a directory, ::ro: to read only (repeatable)
    ///
    /// Without ::ro it may write as much as it likes.
    #[arg(long, value_name = "HOST[::GUEST[::ro]]", help_heading = "Guest")]
    pub(crate) dir: Vec<Dir>,

    /// Set a header of each request, or those in @FILE (repeatable)
    ///
    /// It replaces one of that name.
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = "Guest")]
    pub(crate) header: Vec<HeaderArg>,

    /// Let guests send requests there only (repeatable)
    ///
    /// [default: anywhere but this server; link-local addresses only if they are named]
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Guest")]
    pub(crate) allow_outbound: Option<Vec<Outbound>>,

    /// Let guests send no requests to private networks
    ///
    /// Nor to this machine, but for what --allow-outbound names.
    #[arg(long, help_heading = "Guest")]
    pub(crate) deny_private: bool,

    /// Requests that guests send, under way at once [default: 1000, or what the descriptors allow]
    #[arg(long, value_name = "N", help_heading = "Guest", hide_short_help = true)]
    pub(crate) max_outbound: Option<Count>,

    /// Files that guests have open at once [default: 1000, or what the descriptors allow]
    #[arg(long, value_name = "N", help_heading = "Guest", hide_short_help = true)]
    pub(crate) max_files: Option<Count>,

    /// WASI: cli, http, p3, config, keyvalue, ...
    ///
    /// config-var=K=V and keyvalue-in-memory-data=K=V give values.
    #[arg(short = 'S', long, value_name = "KEY[=VAL],...", help_heading = "Guest")]
    pub(crate) wasi: Vec<Wasi>,

    /// WebAssembly: timeout=, max-memory-size=, ...
    ///
    /// timeout=DURATION, max-memory-size=SIZE, component-model-async
    #[arg(short = 'W', long, value_name = "KEY[=VAL],...", help_heading = "Guest")]
    pub(crate) wasm: Vec<Wasm>,

    /// Compilation: cache, cache-config=PATH
    #[arg(short = 'C', long, value_name = "KEY[=VAL],...", help_heading = "Guest")]
    pub(crate) codegen: Vec<Codegen>,
}

impl Flags {
    /// Makes `-W timeout=` and `--request-timeout` one, likewise the two spellings of the memory limit. Done for each
    /// source on its own, so that a flag in either spelling wins over the file in either spelling.
    pub(crate) fn unify(mut self) -> Result<Self, String> {
        let mut wasm = Wasm::sum(std::mem::take(&mut self.wasm));
        self.request_timeout = one_of(
            ("--request-timeout", self.request_timeout),
            ("-W timeout", wasm.timeout.take()),
        )?;
        self.max_memory = one_of(
            ("--max-memory", self.max_memory),
            ("-W max-memory-size", wasm.max_memory_size.take()),
        )?;
        self.wasm = vec![wasm];
        Ok(self)
    }

    /// These flags, and what `file` says wherever they say nothing. A list is taken from one of the two, whole.
    pub(crate) fn over(self, file: Self) -> Self {
        Self {
            component: self.component.or(file.component),
            upstream: self.upstream.or(file.upstream),
            config: self.config.or(file.config),
            addr: self.addr.or(file.addr),
            admin: self.admin.or(file.admin),
            shutdown_addr: self.shutdown_addr.or(file.shutdown_addr),
            max_concurrent_connections: self
                .max_concurrent_connections
                .or(file.max_concurrent_connections),
            trust_proxy: list(self.trust_proxy, file.trust_proxy),
            strip_response_header: list(self.strip_response_header, file.strip_response_header),
            min_body_rate: self.min_body_rate.or(file.min_body_rate),
            request_body_timeout: self.request_body_timeout.or(file.request_body_timeout),
            threads: self.threads.or(file.threads),
            drain_delay: self.drain_delay.or(file.drain_delay),
            drain_timeout: self.drain_timeout.or(file.drain_timeout),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            no_logging_prefix: self.no_logging_prefix || file.no_logging_prefix,
            max_guest_output: self.max_guest_output.or(file.max_guest_output),
            profile: self.profile.or(file.profile),
            coredump: self.coredump.or(file.coredump),
            max_record_files: self.max_record_files.or(file.max_record_files),
            max_record_bytes: self.max_record_bytes.or(file.max_record_bytes),
            middleware: MiddlewareFlags(list(self.middleware.0, file.middleware.0)),
            max_middleware_instances: self
                .max_middleware_instances
                .or(file.max_middleware_instances),
            max_middleware_buffer: self.max_middleware_buffer.or(file.max_middleware_buffer),
            queue: self.queue.or(file.queue),
            queue_timeout: self.queue_timeout.or(file.queue_timeout),
            request_timeout: self.request_timeout.or(file.request_timeout),
            start_timeout: self.start_timeout.or(file.start_timeout),
            max_instances: self.max_instances.or(file.max_instances),
            max_memory: self.max_memory.or(file.max_memory),
            max_total_memory: self.max_total_memory.or(file.max_total_memory),
            max_component_size: self.max_component_size.or(file.max_component_size),
            max_concurrent_requests: self.max_concurrent_requests.or(file.max_concurrent_requests),
            max_instance_reuse_count: self
                .max_instance_reuse_count
                .or(file.max_instance_reuse_count),
            max_instance_concurrent_reuse_count: self
                .max_instance_concurrent_reuse_count
                .or(file.max_instance_concurrent_reuse_count),
            idle_instance_timeout: self.idle_instance_timeout.or(file.idle_instance_timeout),
            min_idle: self.min_idle.or(file.min_idle),
            max_instance_age: self.max_instance_age.or(file.max_instance_age),
            instance_memory_watermark: self
                .instance_memory_watermark
                .or(file.instance_memory_watermark),
            process_memory_watermark: self
                .process_memory_watermark
                .or(file.process_memory_watermark),
            env: list(self.env, file.env),
            dir: list(self.dir, file.dir),
            header: list(self.header, file.header),
            allow_outbound: self.allow_outbound.or(file.allow_outbound),
            deny_private: self.deny_private || file.deny_private,
            max_outbound: self.max_outbound.or(file.max_outbound),
            max_files: self.max_files.or(file.max_files),
            wasi: vec![wasi(Wasi::sum(self.wasi), Wasi::sum(file.wasi))],
            wasm: [file.wasm, self.wasm].concat(),
            codegen: [file.codegen, self.codegen].concat(),
        }
    }
}

fn one_of<T>(first: (&str, Option<T>), second: (&str, Option<T>)) -> Result<Option<T>, String> {
    if first.1.is_some() && second.1.is_some() {
        return Err(format!("{} and {} mean the same: give one of them", first.0, second.0));
    }
    Ok(first.1.or(second.1))
}

fn list<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

fn wasi(flags: Wasi, file: Wasi) -> Wasi {
    Wasi {
        cli: flags.cli.or(file.cli),
        http: flags.http.or(file.http),
        p3: flags.p3.or(file.p3),
        config: flags.config.or(file.config),
        keyvalue: flags.keyvalue.or(file.keyvalue),
        config_var: list(flags.config_var, file.config_var),
        keyvalue_in_memory_data: list(flags.keyvalue_in_memory_data, file.keyvalue_in_memory_data),
    }
}

/// Whether clap answers with the help because nothing was asked for.
pub(crate) fn is_help(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What clap says of wrong flags, on one line: without the usage and the pointer to the help.
pub(crate) fn one_line(error: &clap::Error) -> StartError {
    let text = error.render().to_string();
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let line = said.collect::<Vec<_>>().join(" ");
    StartError::usage(line.strip_prefix("error: ").unwrap_or(&line))
}
