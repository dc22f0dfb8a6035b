//! The routes which tell what the guest sees of the world, or write into it.

use std::fmt::Write as _;
use std::io;

use wasip2::cli::environment;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam, Scheme};
use wasip2::random::random::get_random_bytes;

use crate::answer::text;
use crate::query::Query;

pub(crate) fn print(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    for _ in 0..query.number("n").unwrap_or(1) {
        if let Some(line) = query.get("out") {
            println!("{line}");
        }
        if let Some(line) = query.get("err") {
            eprintln!("{line}");
        }
    }
    text(out, 200, "printed\n")
}

pub(crate) fn env(out: ResponseOutparam) -> io::Result<()> {
    let mut variables = environment::get_environment();
    variables.sort();
    let lines = variables.iter().map(|(key, value)| format!("{key}={value}\n"));
    text(out, 200, lines.collect::<String>())
}

pub(crate) fn args(out: ResponseOutparam) -> io::Result<()> {
    let lines = environment::get_arguments().into_iter().map(|arg| arg + "\n");
    text(out, 200, lines.collect::<String>())
}

/// The head of the request as the guest sees it.
pub(crate) fn request(request: &IncomingRequest, out: ResponseOutparam) -> io::Result<()> {
    let method = match request.method() {
        Method::Other(other) => other,
        known => format!("{known:?}").trim_start_matches("Method::").to_uppercase(),
    };
    let scheme = match request.scheme() {
        Some(Scheme::Http) => "http".to_owned(),
        Some(Scheme::Https) => "https".to_owned(),
        Some(Scheme::Other(other)) => other,
        None => String::new(),
    };
    let authority = request.authority().unwrap_or_default();
    let target = request.path_with_query().unwrap_or_default();
    let mut head = format!(
        "method: {method}\nscheme: {scheme}\nauthority: {authority}\npath-with-query: {target}\n"
    );
    let mut headers = request.headers().entries();
    headers.sort();
    for (name, value) in headers {
        let _ = writeln!(head, "{name}: {}", String::from_utf8_lossy(&value));
    }
    text(out, 200, head)
}

pub(crate) fn read(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    match std::fs::read(query.get("path").unwrap_or_default()) {
        Ok(content) => text(out, 200, content),
        Err(error) => text(out, 404, format!("{error}\n")),
    }
}

pub(crate) fn random(out: ResponseOutparam) -> io::Result<()> {
    let hex = get_random_bytes(8).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    text(out, 200, hex)
}

pub(crate) fn write(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    match std::fs::write(query.get("path").unwrap_or_default(), "written\n") {
        Ok(()) => text(out, 200, "written\n"),
        Err(error) => text(out, 403, format!("{error}\n")),
    }
}

/// Lists a directory, and tells how many entries it has.
pub(crate) fn list(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    match std::fs::read_dir(query.get("path").unwrap_or_default()) {
        Ok(entries) => text(out, 200, format!("{}\n", entries.filter(Result::is_ok).count())),
        Err(error) => text(out, 403, format!("{error}\n")),
    }
}

/// Opens a file n times, holds all of them for ms, and tells how often it could.
pub(crate) fn open_many(query: &Query, out: ResponseOutparam) -> io::Result<()> {
    let path = query.get("path").unwrap_or_default();
    let open = |_| std::fs::File::open(path).ok();
    let files: Vec<_> = (0..query.number("n").unwrap_or(1)).filter_map(open).collect();
    crate::answer::sleep(query.number("ms").unwrap_or(0));
    text(out, 200, format!("{}\n", files.len()))
}

/// Makes sockets, and looks up a name.
pub(crate) fn sockets(out: ResponseOutparam) -> io::Result<()> {
    use wasip2::sockets::network::IpAddressFamily::Ipv4;
    let tcp = wasip2::sockets::tcp_create_socket::create_tcp_socket(Ipv4).map(drop);
    let udp = wasip2::sockets::udp_create_socket::create_udp_socket(Ipv4).map(drop);
    let network = wasip2::sockets::instance_network::instance_network();
    let name = wasip2::sockets::ip_name_lookup::resolve_addresses(&network, "localhost");
    let name = name.map(|found| {
        found.subscribe().block();
        found.resolve_next_address().map(drop)
    });
    text(out, 200, format!("{tcp:?} {udp:?} {name:?}\n"))
}
