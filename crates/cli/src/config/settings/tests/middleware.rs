use super::*;

fn given(args: &[&str]) -> Result<Vec<(String, Option<String>)>, String> {
    let flags = flags(args).map_err(|error| crate::config::args::one_line(&error).to_string())?;
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    Ok(flags.middleware.0.into_iter().map(|m| (text(m.module), m.config.map(text))).collect())
}

fn pair(module: &str, config: Option<&str>) -> (String, Option<String>) {
    (module.into(), config.map(Into::into))
}

#[test]
fn a_config_belongs_to_the_module_before_it() {
    let args = ["--middleware", "a", "--middleware=b", "--middleware-config=b.toml", "app.wasm"];
    assert_eq!(given(&args), Ok(vec![pair("a", None), pair("b", Some("b.toml"))]));
    let args = [
        "--middleware=a",
        "--queue=1",
        "--middleware-config",
        "a.toml",
        "--middleware=a",
        "--middleware-config=other.toml",
    ];
    assert_eq!(given(&args), Ok(vec![pair("a", Some("a.toml")), pair("a", Some("other.toml"))]));
    assert_eq!(given(&[]), Ok(vec![]));
}

#[test]
fn a_config_needs_a_module_of_its_own() {
    let alone =
        "--middleware-config a.toml: expected a --middleware before it, to which it belongs";
    assert_eq!(given(&["--middleware-config=a.toml"]), Err(alone.into()));
    assert_eq!(given(&["--middleware-config=a.toml", "--middleware=a"]), Err(alone.into()));
    let twice = ["--middleware=a", "--middleware-config=a.toml", "--middleware-config=b.toml"];
    assert_eq!(
        given(&twice),
        Err("--middleware-config b.toml: --middleware a has a.toml already, expected one for each"
            .into())
    );
    assert_eq!(flags(&twice).unwrap_err().exit_code(), 2);
    assert_eq!(
        resolve(&["--max-middleware-instances=1"]).unwrap_err().to_string(),
        "--max-middleware-instances: there is no --middleware for which to count"
    );
    assert_eq!(
        resolve(&["--max-middleware-buffer=1MiB"]).unwrap_err().to_string(),
        "--max-middleware-buffer: there is no --middleware for which to hold anything"
    );
}

#[test]
fn flags_replace_all_middleware_of_the_file() {
    let text = "[[middleware]]\nmodule = 'a'\nconfig = 'a.toml'\n[[middleware]]\nmodule = 'b'";
    let modules = |settings: Settings| -> Vec<PathBuf> {
        settings.middleware.into_iter().map(|middleware| middleware.module).collect()
    };
    assert_eq!(modules(with_file(text, &[])), [PathBuf::from("a"), "b".into()]);
    assert_eq!(modules(with_file(text, &["--middleware=c"])), [PathBuf::from("c")]);
}

#[test]
fn a_bad_table_is_named_with_its_line() {
    let error = |text: &str| file_error(&format!("queue = 1\n{text}"));
    assert_eq!(error("[[middleware]]\nconfig = 'a'"), ":2: middleware: missing field `module`");
    assert_eq!(
        error("[[middleware]]\nmodule = 'a'\nconf = 'b'"),
        ":4: unknown field `conf`, expected `module` or `config`"
    );
    let error = error("middleware = 'a'");
    assert!(error.starts_with(":2: middleware: invalid type: string"), "{error}");
}
