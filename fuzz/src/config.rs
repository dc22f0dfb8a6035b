//! A command line, one word on each line, and a configuration file after the line `---`.

use std::path::PathBuf;
use std::sync::OnceLock;

use millpond_cli::fuzzing::settings;

/// Flags that a file has as lists, and those that it has in another form or not at all.
const LISTS: [&str; 7] = ["env", "dir", "header", "allow-outbound", "wasi", "wasm", "codegen"];
const OTHERS: [&str; 7] = [
    "component",
    "config",
    "middleware",
    "middleware-config",
    "no-logging-prefix",
    "help",
    "version",
];

/// Resolves the settings.
///
/// # Panics
///
/// If that does, if it is refused with anything but one line that names what is wrong, or if a value means one thing on
/// the command line and another in the file.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Flags may name files, and some of those never end.
    if ["/dev", "/proc", "/sys"].iter().any(|endless| text.contains(endless)) {
        return;
    }
    let (words, file) = text.split_once("---\n").unwrap_or((text, ""));
    let mut words: Vec<String> = words.lines().map(str::to_owned).collect();

    if let Err(line) = settings(&words) {
        assert_line(&line);
        let flag = |word: &String| match word.strip_prefix("--") {
            Some(long) => long.split('=').next().unwrap_or("").to_owned(),
            None => word.chars().take(2).collect(),
        };
        // clap leaves control characters out, and with them what it names.
        let odd = words.iter().any(|word| word.contains(char::is_control));
        let named = line.contains("--") || words.iter().any(|word| line.contains(&flag(word)));
        assert!(odd || named, "{words:?}: {line:?}");
    }
    words.iter().for_each(|word| assert_same(word));

    let only = [with_file(file)];
    if let Err(line) = settings(&only) {
        assert_line(&line);
        let path = path().to_str().expect("a name in ASCII");
        assert!(line.starts_with(path), "{line:?}");
        // With the key, or the flags' names where two are at odds.
    }
    words.push(with_file(file));
    if let Err(line) = settings(&words) {
        assert_line(&line);
    }
}

fn assert_line(line: &str) {
    assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
}

/// One value means the same in both places.
fn assert_same(word: &str) {
    let Some((key, value)) = word.strip_prefix("--").and_then(|word| word.split_once('=')) else {
        return;
    };
    let is_key = key.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
    if !is_key || OTHERS.contains(&key) || value.contains(|c: char| c == '\'' || c.is_control()) {
        return;
    }
    let line = match LISTS.contains(&key) {
        true => format!("{key} = ['{value}']\n"),
        false => format!("{key} = '{value}'\n"),
    };
    let (flag, file) = (settings(&[word.to_owned()]), settings(&[with_file(&line)]));
    match (flag, file) {
        (Ok(flag), Ok(file)) => assert_eq!(flag, file, "{word:?}"),
        (Err(_), Err(line)) => assert_line(&line),
        (flag, file) => panic!("{word:?}: {flag:?}, and in a file {file:?}"),
    }
}

fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let name = format!("millpond-fuzz-{}.toml", std::process::id());
        std::env::temp_dir().join(name)
    })
}

/// The flag for a file with this text.
fn with_file(text: &str) -> String {
    std::fs::write(path(), text).expect("a place for files");
    format!("--config={}", path().display())
}
