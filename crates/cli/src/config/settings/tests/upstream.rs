use super::*;

const UPSTREAM: &str = "--upstream=http://127.0.0.1:3000";

fn error(args: &[&str]) -> String {
    resolve(&[&[UPSTREAM], args].concat()).unwrap_err().to_string()
}

#[test]
fn the_upstream_is_a_flag_and_a_key() {
    let upstream = Some("http://127.0.0.1:3000".parse().unwrap());
    assert_eq!(settings(&[UPSTREAM]).upstream, upstream);
    assert_eq!(with_file("upstream = 'http://127.0.0.1:3000'", &[]).upstream, upstream);
    assert_eq!(with_file("upstream = 'http://other'", &[UPSTREAM]).upstream, upstream);
    let file = file_error("upstream = 'https://a'");
    assert!(
        file.starts_with(":1: upstream: invalid value 'https://a': https upstreams are not"),
        "{file}"
    );
    let flag = flags(&["--upstream=localhost:3000"]).unwrap_err();
    assert!(flag.to_string().contains("for '--upstream <URL>': expected http://HOST[:PORT], such"));
    assert_eq!(flag.exit_code(), 2);
}

#[test]
fn refuses_an_upstream_beside_a_component() {
    assert_eq!(
        error(&["app.wasm"]),
        "--upstream http://127.0.0.1:3000: app.wasm is to be served already, expected one of the two"
    );
    let file = File::new("component = 'other.wasm'");
    assert!(error(&["--config", file.path()]).contains("other.wasm is to be served already"));
}

#[test]
fn refuses_component_settings_with_upstream() {
    for (name, flag) in [
        ("--env", "--env=A=1"),
        ("--env", "--env=UNSET_ON_THE_HOST"),
        ("--dir", "--dir=src"),
        ("--allow-outbound", "--allow-outbound=a"),
        ("-S", "-Sconfig"),
        ("-W component-model-async", "-Wcomponent-model-async"),
        ("--profile", "--profile=dir"),
        ("--coredump", "--coredump=dir"),
        ("--max-instances", "--max-instances=1"),
        ("--max-instance-reuse-count", "--max-instance-reuse-count=1"),
        ("--max-instance-concurrent-reuse-count", "--max-instance-concurrent-reuse-count=1"),
        ("--min-idle", "--min-idle=0"),
    ] {
        let expected = format!("{name} is for components, and with --upstream there is none");
        assert_eq!(error(&[flag]), expected);
        assert_eq!(error(&[flag, "--middleware=a"]), expected);
        resolve(&[flag]).unwrap();
    }
    let file = File::new("env = ['A=1']");
    assert!(error(&["--config", file.path()]).starts_with("--env is for components"));
}

#[test]
fn refuses_guest_settings_without_guests() {
    for (name, flag) in [
        ("--start-timeout", "--start-timeout=1"),
        ("--max-memory", "--max-memory=1MiB"),
        ("--max-total-memory", "--max-total-memory=1GiB"),
        ("--max-memory", "-Wmax-memory-size=1MiB"),
        ("--idle-instance-timeout", "--idle-instance-timeout=1"),
        ("--max-instance-age", "--max-instance-age=1"),
        ("--instance-memory-watermark", "--instance-memory-watermark=1MiB"),
        ("--process-memory-watermark", "--process-memory-watermark=1MiB"),
        ("--no-logging-prefix", "--no-logging-prefix"),
        ("-C", "-Ccache=n"),
    ] {
        let expected = format!(
            "{name} is for guests, and with --upstream but without --middleware there are none"
        );
        assert_eq!(error(&[flag]), expected);
        resolve(&[UPSTREAM, flag, "--middleware=a"]).unwrap();
    }
    let shared = ["--queue=1", "--queue-timeout=1", "--request-timeout=1", "-Hx: 1"];
    resolve(
        &[&[UPSTREAM, "--max-concurrent-requests=1", "-Wtimeout=1"][..], &shared[..2]].concat(),
    )
    .unwrap();
    resolve(&[&[UPSTREAM][..], &shared].concat()).unwrap();
}
