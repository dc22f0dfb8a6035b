//! The routes which tell what the guest sees of the world, or write into it.

use std::fmt::Write as _;

use wasip3::cli::environment;
use wasip3::filesystem::preopens;
use wasip3::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};
use wasip3::http::types::{Method, Request, Response, Scheme};
use wasip3::random::random::get_random_bytes;

use crate::answer::{sleep, text};
use crate::query::Query;

pub(crate) fn print(query: &Query) -> Response {
    for _ in 0..query.number("n").unwrap_or(1) {
        if let Some(line) = query.get("out") {
            println!("{line}");
        }
        if let Some(line) = query.get("err") {
            eprintln!("{line}");
        }
    }
    text(200, "printed\n")
}

pub(crate) fn env() -> Response {
    let mut variables = environment::get_environment();
    variables.sort();
    let lines = variables.iter().map(|(key, value)| format!("{key}={value}\n"));
    text(200, lines.collect::<String>())
}

pub(crate) fn args() -> Response {
    let lines = environment::get_arguments().into_iter().map(|arg| arg + "\n");
    text(200, lines.collect::<String>())
}

/// The head of the request as the guest sees it.
pub(crate) fn request(request: &Request) -> Response {
    let method = match request.get_method() {
        Method::Other(other) => other,
        known => format!("{known:?}").trim_start_matches("Method::").to_uppercase(),
    };
    let scheme = match request.get_scheme() {
        Some(Scheme::Http) => "http".to_owned(),
        Some(Scheme::Https) => "https".to_owned(),
        Some(Scheme::Other(other)) => other,
        None => String::new(),
    };
    let authority = request.get_authority().unwrap_or_default();
    let target = request.get_path_with_query().unwrap_or_default();
    let mut head = format!(
        "method: {method}\nscheme: {scheme}\nauthority: {authority}\npath-with-query: {target}\n"
    );
    let mut headers = request.get_headers().copy_all();
    headers.sort();
    for (name, value) in headers {
        let _ = writeln!(head, "{name}: {}", String::from_utf8_lossy(&value));
    }
    text(200, head)
}

pub(crate) fn read(query: &Query) -> Response {
    match std::fs::read(query.get("path").unwrap_or_default()) {
        Ok(content) => text(200, content),
        Err(error) => text(404, format!("{error}\n")),
    }
}

pub(crate) fn random() -> Response {
    let hex = get_random_bytes(8).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    text(200, hex)
}

pub(crate) fn write(query: &Query) -> Response {
    match std::fs::write(query.get("path").unwrap_or_default(), "written\n") {
        Ok(()) => text(200, "written\n"),
        Err(error) => text(403, format!("{error}\n")),
    }
}

/// The first directory which the guest is given.
fn directory() -> Descriptor {
    preopens::get_directories().into_iter().next().expect("a directory").0
}

/// Opens a file n times, holds all of them for ms, and tells how often it could.
pub(crate) async fn open_many(query: &Query) -> Response {
    let dir = directory();
    let mut files = Vec::new();
    for _ in 0..query.number("n").unwrap_or(1) {
        let path = query.get("path").unwrap_or_default().to_owned();
        let flags = (OpenFlags::empty(), DescriptorFlags::READ);
        files.extend(dir.open_at(PathFlags::empty(), path, flags.0, flags.1).await.ok());
    }
    sleep(query.number("ms").unwrap_or(0)).await;
    text(200, format!("{}\n", files.len()))
}

/// Begins to list the directory n times, reads each to its first entry and holds it for ms, and then reads the last one
/// to its end: how many entries it has.
pub(crate) async fn list(query: &Query) -> Response {
    let dir = directory();
    let mut listings = Vec::new();
    for _ in 0..query.number("n").unwrap_or(1) {
        let (mut entries, end) = dir.read_directory();
        let first = entries.next().await;
        listings.push((entries, end, usize::from(first.is_some())));
    }
    sleep(query.number("ms").unwrap_or(0)).await;
    let (mut entries, end, mut count) = listings.pop().expect("one at least");
    drop(listings);
    // After its end, a stream must not be asked again.
    while count > 0 && entries.next().await.is_some() {
        count += 1;
    }
    text(200, format!("{count} {:?}\n", end.await))
}
