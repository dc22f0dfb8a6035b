//! What is refused, and what the refusal says.

use super::*;

#[test]
fn a_bad_flag_is_named() {
    for (args, expected) in [
        (
            &["--max-instances=0"][..],
            "invalid value '0' for '--max-instances <N>': expected a whole number of at least 1",
        ),
        (
            &["--max-instance-reuse-count=0"],
            "invalid value '0' for '--max-instance-reuse-count <N>': expected a whole number of at least 1",
        ),
        (
            &["--max-instance-concurrent-reuse-count=0"],
            "for '--max-instance-concurrent-reuse-count <N>': expected a whole number of at least 1",
        ),
        (
            &["--max-concurrent-requests=0"],
            "for '--max-concurrent-requests <N>': expected a whole number of at least 1",
        ),
        (
            &["--max-concurrent-connections=0"],
            "for '--max-concurrent-connections <N>': expected a whole number of at least 1",
        ),
        (&["--threads=0"], "for '--threads <N>': expected a whole number from 1 to 1024"),
        (
            &["--queue=x"],
            "invalid value 'x' for '--queue <N>': expected a whole number of requests",
        ),
        (
            &["--request-timeout=0s"],
            "for '--request-timeout <DURATION>': expected a duration above zero",
        ),
        (
            &["--start-timeout=0"],
            "for '--start-timeout <DURATION>': expected a duration above zero",
        ),
        (
            &["--drain-timeout=soon"],
            "for '--drain-timeout <DURATION>': expected a duration such as",
        ),
        (&["--max-memory=64"], "for '--max-memory <SIZE>': expected at least 64KiB"),
        (&["--addr=8080"], "invalid value '8080' for '--addr <IP:PORT>': expected IP:PORT"),
        (&["--admin=x"], "for '--admin <IP:PORT>': expected IP:PORT"),
        (&["--shutdown-addr=x"], "for '--shutdown-addr <IP:PORT>': expected IP:PORT"),
        (&["--env==x"], "for '--env <NAME[=VALUE]>': expected NAME or NAME=VALUE"),
        (
            &["--dir=::x"],
            "for '--dir <HOST[::GUEST[::ro]]>': expected HOST, HOST::GUEST or HOST::GUEST::ro",
        ),
        (&["-Hbad"], "for '--header <NAME: VALUE>': expected 'name: value'"),
        (
            &["--allow-outbound=https://a"],
            "for '--allow-outbound <HOST[:PORT]>': expected HOST, HOST:PORT or ADDRESS/BITS",
        ),
        (
            &["--log-format=xml"],
            "invalid value 'xml' for '--log-format <FORMAT>'\n  [possible values: text, json]",
        ),
        (&["-Snn"], "for '--wasi <KEY[=VAL],...>': unknown option -S nn; accepted are cli, http,"),
        (
            &["-Wfuel=1"],
            "for '--wasm <KEY[=VAL],...>': unknown option -W fuel; accepted are timeout=",
        ),
        (&["-Ccompiler=winch"], "unknown option -C compiler; accepted are cache"),
        (&["-Sp3=n"], "-S p3=n: it is always provided here, it cannot be turned off"),
        (&["-Oopt-level=2"], "unexpected argument '-O' found"),
        (
            &["--profile=perfmap"],
            "for '--profile <DIR>': expected a directory for profiles of each guest, such as ./perfmap",
        ),
        (&["--profile=guest,app.json"], "for '--profile <DIR>': expected a directory"),
        (&["--queue=1", "--queue=2"], "the argument '--queue <N>' cannot be used multiple times"),
        (&["a.wasm", "b.wasm"], "unexpected argument 'b.wasm' found"),
    ] {
        let error = flags(args).unwrap_err();
        assert!(error.to_string().contains(expected), "{args:?}: {error}");
        assert_eq!(error.exit_code(), 2, "{args:?}");
    }
}

#[test]
fn a_bad_file_is_named_with_line_and_key() {
    assert_eq!(
        file_error("queue = 3\n\nmax-instances = 0\n"),
        ":3: max-instances: invalid value '0': expected a whole number of at least 1"
    );
    assert_eq!(
        file_error("request-timeout = 'soon'"),
        ":1: request-timeout: invalid value 'soon': expected a duration such as 500ms, 2s or 5m \
         (a plain number is in seconds)"
    );
    assert_eq!(
        file_error("env = [\n  'A=1',\n  '=2',\n]"),
        ":3: env: invalid value '=2': expected NAME or NAME=VALUE"
    );
    assert_eq!(
        file_error("queue = true"),
        ":1: queue: invalid type: boolean `true`, expected a string or a whole number"
    );
    assert!(
        file_error("wasi = ['nn']")
            .starts_with(":1: wasi: invalid value 'nn': unknown option -S nn; accepted")
    );
    assert!(
        file_error("\nlog-format = 'xml'").starts_with(":2: log-format: unknown variant `xml`")
    );

    for (text, key) in [
        ("component = ''", "component"),
        ("coredump = ''", "coredump"),
        ("middleware = [{ module = '' }]", "middleware"),
        ("middleware = [{ module = 'a', config = '' }]", "middleware"),
    ] {
        let expected = format!(":1: {key}: invalid value '': expected a path");
        assert_eq!(file_error(text), expected);
    }

    let unknown = file_error("queue = 1\nque = 2");
    assert!(
        unknown.starts_with(":2: unknown field `que`, expected one of `component`"),
        "{unknown}"
    );
    assert!(file_error("config = 'x'").starts_with(":1: unknown field `config`"));
    assert!(file_error("[server]\nqueue = 1").starts_with(":1: server: unknown field `server`"));
    let twice = file_error("queue = 1\nqueue = 2");
    assert!(twice.starts_with(":2: ") && twice.contains("duplicate"), "{twice}");
    let torn = file_error("queue = 1\naddr = \"127\n");
    assert!(torn.starts_with(":2: "), "{torn}");
}

#[test]
fn less_for_all_than_for_one_is_refused() {
    let error = resolve(&["--max-total-memory=1MiB", "--max-memory=2MiB"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--max-total-memory: 1048576 bytes for all instances, expected at least the 2097152 of one, --max-memory"
    );
    settings(&["--max-total-memory=2MiB", "--max-memory=2MiB"]);
}

#[test]
fn what_is_missing_on_the_host_is_named() {
    let error = |args: &[&str]| resolve(args).unwrap_err().to_string();
    assert!(
        error(&["--config=no/such.toml"])
            .starts_with("no/such.toml: cannot read the configuration file: ")
    );
    assert!(error(&["--dir=no/such::/x"]).starts_with("--dir no/such: "));
    assert_eq!(error(&["--dir=Cargo.toml::/x"]), "--dir Cargo.toml: not a directory");
    assert_eq!(error(&["--env=BINARY"]), "--env BINARY: the host's value is not UTF-8");
}
