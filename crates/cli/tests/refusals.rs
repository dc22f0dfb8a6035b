//! Starts that are refused: exit code not 0, at once, and one line that says what and where.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A second is what is promised. This is for machines that do other things as well.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A file for a test.
fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The exit code and the only line on stderr of a start that is refused.
#[track_caller]
fn refusal(args: &[&str]) -> (i32, String) {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .arg("serve")
        .args(args)
        // Where a start that is not refused listens.
        .args(if args[0].starts_with("--addr") { None } else { Some("--addr=127.0.0.1:0") })
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > AT_ONCE {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("{args:?}: it goes on: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    // On a busy machine, it may say what takes so long.
    let lines: Vec<_> = stderr.lines().filter(|line| !line.starts_with("Compiling ")).collect();
    let [line] = lines[..] else { panic!("{args:?}: expected one line, got\n{stderr}") };
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    assert_eq!(output.stdout, b"", "{args:?}: nothing on stdout");
    let code = output.status.code().expect("it exits by itself");
    assert_ne!(code, 0);
    (code, line.to_owned())
}

/// The code, and all that the line must say.
#[track_caller]
fn is_refused(args: &[&str], code: i32, says: &[&str]) {
    let (exit, line) = refusal(args);
    assert_eq!(exit, code, "{args:?}: {line}");
    assert!(line.starts_with("error: "), "{line}");
    for part in says {
        assert!(line.contains(part), "{args:?}: no {part:?} in {line:?}");
    }
}

#[test]
fn a_missing_file_is_refused() {
    is_refused(&["/no/such/app.wasm"], 1, &["/no/such/app.wasm", "No such file"]);
}

#[test]
fn a_directory_is_refused() {
    let dir = env!("CARGO_TARGET_TMPDIR");
    is_refused(&[dir], 1, &[dir, "directory"]);
}

#[test]
fn an_empty_file_is_refused() {
    let file = file("empty.wasm", "");
    is_refused(&[&file], 1, &[&file]);
}

#[test]
fn a_core_module_is_refused() {
    let file = file("core.wasm", b"\0asm\x01\0\0\0");
    is_refused(&[&file], 1, &[&file, "a core module, expected a component"]);
}

#[test]
fn a_core_module_in_text_form_is_refused() {
    let file = file("core.wat", "(module (func))");
    is_refused(&[&file], 1, &[&file, "a core module, expected a component"]);
}

#[test]
fn middleware_that_is_none_is_refused() {
    let refused = |module: &str, says: &[&str]| {
        let says = [&["--middleware", module], says].concat();
        is_refused(&["--middleware", module], 1, &says);
    };
    refused("/no/such/guard.wasm", &["No such file"]);
    refused(env!("CARGO_TARGET_TMPDIR"), &["directory"]);
    let expected = "is no http-wasm guest: it does not export memory: memory";
    refused(&file("no-guest.wasm", b"\0asm\x01\0\0\0"), &[expected]);
    refused(&file("empty-guest.wasm", ""), &["is no module"]);
    refused(&file("component-guest.wat", "(component)"), &["is a component"]);
    refused(&file("text-guest.wasm", "this is\nno module\n"), &["is no module"]);
    let imports = r#"(module (import "env" "now" (func)))"#;
    refused(&file("imports-guest.wat", imports), &["has unsupported imports: env.now"]);
    let spins = guest(r#"(func $spin (loop (br 0))) (start $spin)"#);
    let spins = file("spins-guest.wat", spins);
    let flags = ["--middleware", &spins, "--start-timeout=10ms"];
    is_refused(&flags, 1, &[&spins, "does not start", "10ms"]);
}

#[test]
fn a_config_without_middleware_is_refused() {
    let (module, config) = (file("pass.wat", guest("")), file("pass.txt", ""));
    is_refused(&["--middleware-config", &config], 2, &["--middleware-config", &config]);
    let twice = ["--middleware", &module, "--middleware-config=a", "--middleware-config=b"];
    is_refused(&twice, 2, &["--middleware-config b", &module, "has a already"]);
    let missing = ["--middleware", &module, "--middleware-config=/no/such/file"];
    is_refused(&missing, 1, &["--middleware-config /no/such/file: cannot read it: No such file"]);
    is_refused(&["--max-middleware-instances=3"], 2, &["there is no --middleware"]);
    let table = file("middleware.toml", "[[middleware]]\nconfig = \"a\"\n");
    is_refused(&["--config", &table], 2, &[&format!("{table}:1: middleware: missing field")]);
}

#[test]
fn an_upstream_that_is_none_is_refused() {
    for url in ["https://a", "http://a/path", "http://a?query", "http://", "a:3000", ":", ""] {
        is_refused(&["--upstream", url], 2, &["--upstream", "expected http://HOST[:PORT]"]);
    }
    let upstream = "--upstream=http://127.0.0.1:1";
    is_refused(&[upstream, "app.wasm"], 2, &["app.wasm is to be served already"]);
    is_refused(&[upstream, "--env=A=1"], 2, &["--env is for components"]);
    is_refused(&[upstream, "--max-memory=1MiB"], 2, &["--max-memory is for guests"]);
    let own = ["--addr=127.0.0.77:18080", "--upstream=http://127.0.0.77:18080"];
    is_refused(&own, 2, &["--upstream http://127.0.0.77:18080: this server listens there itself"]);
    let guard = "--middleware=/no/such/guard.wasm";
    is_refused(&[upstream, guard], 1, &["cannot read /no/such/guard.wasm"]);
}

/// An http-wasm guest that lets everything pass, with more code.
fn guest(more: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "handle_request") (result i64) (i64.const 1))
            (func (export "handle_response") (param i32 i32))
            {more})"#
    )
}

#[test]
fn garbage_is_refused() {
    let bytes: Vec<u8> = (0..=255_u8).rev().cycle().take(5000).collect();
    let garbage = file("garbage.wasm", &bytes);
    is_refused(&[&garbage], 1, &[&garbage]);
    let text = file("garbage.txt", "this is\nno component\n");
    is_refused(&[&text], 1, &[&text]);
    // A component's first bytes, and then nothing of the kind.
    let begun = file("begun.wasm", [b"\0asm\x0d\0\x01\0".as_slice(), &bytes].concat());
    is_refused(&[&begun], 1, &[&begun]);
}

#[test]
fn a_component_without_a_handler_is_refused() {
    let file = file("no-handler.wat", "(component)");
    is_refused(&[&file], 1, &[&file, "no HTTP handler", "exports nothing"]);
}

#[test]
fn an_unsupported_import_is_named() {
    for handler in ["wasi:http/incoming-handler@0.2.0", "wasi:http/handler@0.3.0"] {
        let text = format!(
            r#"(component
                (import "acme:cache/store@1.0.0" (instance (export "get" (func))))
                (import "acme:log/lines" (instance (export "line" (func))))
                (instance $handler)
                (export "{handler}" (instance $handler)))"#
        );
        let file = file(&format!("imports-{}.wat", &handler[10..12]), text);
        let says = [&file, "has unsupported imports: acme:cache/store@1.0.0, acme:log/lines"];
        is_refused(&[&file], 1, &says);
    }
}

#[test]
fn names_an_import_that_a_flag_would_add() {
    let text = r#"(component
        (import "wasi:keyvalue/store@0.2.0-draft" (instance (export "f" (func))))
        (instance $handler)
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    let file = file("keyvalue.wat", text);
    is_refused(&[&file], 1, &[&file, "wasi:keyvalue/store@0.2.0-draft"]);
}

#[test]
fn a_used_port_is_refused_before_compiling() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flag in ["--admin", "--shutdown-addr"] {
        is_refused(&[flag, &addr], 1, &[&addr, "the address is in use"]);
    }
}

#[test]
fn an_unknown_flag_is_refused() {
    is_refused(&["--no-such-flag"], 2, &["--no-such-flag"]);
}

#[test]
fn a_bad_value_is_refused() {
    for (flag, value) in [
        ("--addr", "localhost"),
        ("--max-instances", "0"),
        ("--max-instances", "many"),
        ("--request-timeout", "soon"),
        ("--max-memory", "lots"),
        ("--allow-outbound", "http://a"),
        ("--header", "no-colon"),
        ("--dir", "::/data"),
        ("--env", "=1"),
    ] {
        let line = refusal(&[&format!("{flag}={value}")]);
        assert_eq!(line.0, 2, "{line:?}");
        assert!(line.1.contains(flag), "{line:?}");
    }
}

#[test]
fn an_unknown_grouped_option_is_named() {
    for (flag, name) in [("-Snn", "-S nn"), ("-Wfuel=1", "-W fuel"), ("-Cparallel", "-C parallel")]
    {
        is_refused(&[flag], 2, &[name]);
    }
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    is_refused(&["--dir=/no/such/dir::/data"], 1, &["--dir /no/such/dir"]);
}

#[test]
fn an_unwritable_directory_is_refused() {
    let taken = file("no-directory", "");
    for (flag, what) in [("--profile", "profiles"), ("--coredump", "core dumps")] {
        for dir in [taken.clone(), format!("{taken}/below")] {
            let says = [&format!("cannot write {what} to {dir}: "), "ot a directory"];
            is_refused(&[&format!("{flag}={dir}")], 1, &says);
        }
    }
}

#[test]
fn a_profiler_that_is_not_here_is_refused() {
    is_refused(&["--profile=perfmap"], 2, &["--profile", "expected a directory"]);
}

#[test]
fn a_bad_config_names_its_line_and_key() {
    is_refused(&["--config=/no/such.toml"], 1, &["/no/such.toml"]);
    let bad = file("value.toml", "queue = 3\nrequest-timeout = \"soon\"\n");
    is_refused(&["--config", &bad], 2, &[&format!("{bad}:2: request-timeout: "), "'soon'"]);
    let unknown = file("key.toml", "\n\nno-such-key = 1\n");
    is_refused(&["--config", &unknown], 2, &[&format!("{unknown}:3: "), "no-such-key"]);
    let broken = file("broken.toml", "queue = = 3\n");
    is_refused(&["--config", &broken], 2, &[&format!("{broken}:1: ")]);
    let component = file("component.toml", "component = \"/no/such/app.wasm\"\n");
    is_refused(&["--config", &component], 1, &["/no/such/app.wasm"]);
}
