use std::collections::BTreeSet;
use std::path::Path;

use super::worlds::{P2, P3, Worlds, compatible};
use super::{HttpVersion, Interfaces, InterfacesError};

/// A component that exports the handler of the given name. What it answers does not matter here.
fn handler(name: &str) -> String {
    format!(r#"(instance $h) (export "{name}" (instance $h))"#)
}

fn binary(fields: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {fields})")).expect("test components are well-formed")
}

fn read(fields: &str) -> Interfaces {
    Interfaces::read(&binary(fields)).expect("test components can be read")
}

/// A length as LEB128, padded to five bytes.
fn leb(len: usize) -> [u8; 5] {
    [0, 7, 14, 21, 28].map(|shift| (len >> shift) as u8 & 0x7f | if shift < 28 { 0x80 } else { 0 })
}

/// What is missing where the host links all that `wit/` describes.
fn missing(fields: &str) -> Vec<String> {
    read(fields).missing(|name| Worlds::embedded().find(name).is_some())
}

#[test]
fn each_kind_of_wrong_file_has_its_own_line() {
    let error = |bytes: &[u8]| Interfaces::read(bytes).unwrap_err();

    assert_eq!(error(b""), InterfacesError::Empty);
    assert_eq!(
        error(b"<!DOCTYPE html>").to_string(),
        r#"not WebAssembly: starts with "<!DO", expected "\0asm" and a component"#
    );
    assert_eq!(error(b"\x7f\n"), InterfacesError::NotWasm { start: r"\x7f\n".to_owned() });
    assert_eq!(error(b"\0asm\x01\0\0\0"), InterfacesError::CoreModule);
    assert_eq!(error(&wat::parse_str("(module (func))").unwrap()), InterfacesError::CoreModule);
    assert_eq!(
        error(b"\0asm\x0c\0\x01\0"),
        InterfacesError::UnknownLayer { version: 12, layer: 1 }
    );
    assert_eq!(
        error(b"\0asm\x0d\0\x02\0"),
        InterfacesError::UnknownLayer { version: 13, layer: 2 }
    );
    assert_eq!(error(b"\0as"), InterfacesError::Truncated { len: 3, at: 0 });
    // An export of a type that does not exist: index 9, of 0.
    let malformed = error(b"\0asm\x0d\0\x01\0\x0b\x07\x01\0\x01a\x03\x09\0");
    assert_eq!(
        malformed.to_string(),
        "malformed component: unknown type 9, expected one below 0 at byte 11"
    );
    for message in [error(b""), error(b"\n"), error(b"\0asm\x01\0\0\0"), malformed] {
        assert!(!message.to_string().contains('\n'), "{message:?}");
    }
}

#[test]
fn a_cut_component_is_truncated_or_smaller() {
    let nested = "(component (core module (func)) (component (core module (memory 1))))";
    let whole = binary(&format!(
        r#"(core module (func) (data "some bytes")) {nested} {}"#,
        handler("a:b/c@1.0.0")
    ));
    assert!(Interfaces::read(&whole).is_ok());

    let mut truncated = 0;
    for len in 8..whole.len() {
        match Interfaces::read(&whole[..len]) {
            Err(InterfacesError::Truncated { len: told, at }) => {
                assert!(told == len && at <= len);
                truncated += 1;
            }
            // Cut between two sections: what is there makes sense.
            Ok(_) => {}
            Err(other) => panic!("cut at {len}: {other}"),
        }
    }
    assert!(truncated > whole.len() / 2, "{truncated} of {}", whole.len());
}

/// wasmparser would read them recursively, and a stack that overflows ends the process.
#[test]
fn types_nested_beyond_reason_are_an_error() {
    let nested = |levels: usize| {
        let mut section = vec![1];
        section.extend(b"\x42\x01\x01".repeat(levels));
        section.extend(b"\x42\x00");
        let len = leb(section.len());
        Interfaces::read(&[b"\0asm\x0d\0\x01\0\x07".as_slice(), &len, &section].concat())
    };
    assert!(nested(50).is_ok());
    let message = nested(1_000_000).unwrap_err().to_string();
    assert!(message.starts_with(
        "malformed component: types nested too deep, expected at most 100 levels at byte"
    ));
}

#[test]
fn the_handler_decides_the_version() {
    let p2 = handler("wasi:http/incoming-handler@0.2.3");
    let p3 = handler("wasi:http/handler@0.3.1").replace("$h", "$g");
    assert_eq!(read(&p2).version(), Some(HttpVersion::P2));
    assert_eq!(read(&p3).version(), Some(HttpVersion::P3));
    assert_eq!(read(&format!("{p3} {p2}")).version(), Some(HttpVersion::P3));
    assert_eq!(read(&p2).require_version(), Ok(HttpVersion::P2));
}

#[test]
fn a_missing_handler_lists_the_exports() {
    let line = |fields: &str| read(fields).require_version().unwrap_err().to_string();
    let expected = "expected wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3";

    assert_eq!(line(""), format!("no HTTP handler: exports nothing, {expected}"));
    assert_eq!(
        line(&handler("wasi:cli/run@0.2.3")),
        format!("no HTTP handler: exports wasi:cli/run@0.2.3, {expected}")
    );
    for other_track in [
        "wasi:http/incoming-handler@0.2.0-rc-2023-12-05",
        "wasi:http/incoming-handler@0.3.0",
        "wasi:http/handler@0.3.0-rc-2026-01-06",
        "wasi:http/handler@0.4.0",
        "wasi:http/handler@1.3.0",
    ] {
        assert_eq!(read(&handler(other_track)).version(), None, "{other_track}");
        assert!(line(&handler(other_track)).contains(other_track));
    }
    let many: String = (0..20)
        .map(|i| handler(&format!("a:b/c{i}@1.0.0")).replace("$h", &format!("$h{i}")))
        .collect();
    assert!(line(&many).contains("a:b/c7@1.0.0 and 12 more, expected"), "{}", line(&many));
}

#[test]
fn a_function_named_like_a_handler_is_none() {
    let function = r#"
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (export "wasi:http/handler@0.3.0" (func $f))"#;
    assert_eq!(read(function).version(), None);
}

#[test]
fn unknown_imports_are_missing() {
    let fields = r#"
        (import "wasi:http/typos@0.2.3" (instance (export "f" (func))))
        (import "acme:db/query" (instance (export "f" (func))))
        (import "log" (func))"#;
    assert_eq!(missing(fields), ["wasi:http/typos@0.2.3", "acme:db/query", "log"]);
}

#[test]
fn a_host_vouches_for_its_own_interfaces() {
    let fields = r#"(import "acme:db/query" (instance (export "f" (func))))"#;
    assert_eq!(read(fields).missing(|name| name == "acme:db/query"), Vec::<String>::new());
}

#[test]
fn names_missing_items_of_known_interfaces() {
    let fields = r#"
        (import "wasi:random/random@0.2.3" (instance
            (export "get-random-u64" (func (result u64)))
            (export "get-random-u65" (func (result u64)))))
        (import "wasi:io/poll@0.2.0" (instance
            (export "pollable" (type $p (sub resource)))
            (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
            (export "[method]pollable.steady" (func (param "self" (borrow $p)) (result bool)))
            (export "polar-bear" (type (sub resource)))))"#;
    assert_eq!(
        missing(fields),
        [
            "wasi:random/random@0.2.3#get-random-u65",
            "wasi:io/poll@0.2.0#[method]pollable.steady",
            "wasi:io/poll@0.2.0#polar-bear",
        ]
    );
}

#[test]
fn a_types_only_interface_needs_no_provider() {
    let types = |interface: &str| {
        format!(
            r#"(import "{interface}" (instance (type $t (enum "a" "b")) (export "made-up" (type (eq $t)))))"#
        )
    };
    assert_eq!(missing(&types("wasi:clocks/types@0.3.0")), Vec::<String>::new());
    assert_eq!(missing(&types("acme:db/types@0.1.0")), Vec::<String>::new());
    let function = r#"(import "acme:db/types@0.1.0" (instance (export "open" (func))))"#;
    assert_eq!(missing(function), ["acme:db/types@0.1.0"]);
}

#[test]
fn follows_types_through_alias_and_export() {
    let fields = r#"
        (import "wasi:io/error@0.2.0" (instance $e (export "error" (type (sub resource)))))
        (alias export $e "error" (type $error))
        (type $unused (instance))
        (export $again "again" (type $error))
        (import "wasi:io/streams@0.2.0" (instance
            (alias outer 1 $error (type $inner))
            (export "error" (type (eq $inner)))
            (export "no-stream" (type (sub resource)))))"#;
    assert_eq!(missing(fields), ["wasi:io/streams@0.2.0#no-stream"]);
}

#[test]
fn described_but_not_provided_is_missing() {
    let fields = r#"(import "wasi:config/store@0.2.0-rc.1" (instance (export "get" (func))))"#;
    let interfaces = read(fields);
    assert_eq!(
        interfaces.missing(|name| name != "wasi:config/store@0.2.0-rc.1"),
        ["wasi:config/store@0.2.0-rc.1"]
    );
    assert_eq!(missing(fields), Vec::<String>::new());
    // The folders in wit/ describe these, but no world imports them.
    for not_linked in
        ["wasi:keyvalue/watcher@0.2.0-draft", "wasi:cli/run@0.2.0", "wasi:clocks/timezone@0.2.0"]
    {
        let import = format!(r#"(import "{not_linked}" (instance (export "f" (func))))"#);
        assert_eq!(missing(&import), [not_linked]);
    }
}

#[test]
fn imports_match_by_semver() {
    for (version, is_missing) in [
        ("0.2.0", false),
        ("0.2.99", false),
        ("0.3.0", false),
        ("0.3.7", false),
        ("0.2.0-rc-2023-12-05", true),
        ("0.4.0", true),
        ("1.2.0", true),
    ] {
        let name = format!("wasi:cli/stdout@{version}");
        let function = if version.starts_with("0.3") { "write-via-stream" } else { "get-stdout" };
        let import = format!(r#"(import "{name}" (instance (export "{function}" (func))))"#);
        assert_eq!(missing(&import).is_empty(), !is_missing, "{name}");
    }
    assert!(compatible("a:b/c@1.1.0", "a:b/c@1.2.3+build"));
    assert!(compatible("a:b/c@0.0.1", "a:b/c@0.0.1"));
    assert!(compatible("a:b/c", "a:b/c"));
    for (a, b) in [
        ("a:b/c@1.0.0", "a:b/c@2.0.0"),
        ("a:b/c@0.1.0", "a:b/c@0.2.0"),
        ("a:b/c@0.0.1", "a:b/c@0.0.2"),
        ("a:b/c@1.0.0", "a:b/c@1.0.1-rc.1"),
        ("a:b/c@1.0.0", "a:b/d@1.0.0"),
        ("a:b/c@1.0.0", "a:b/c"),
        ("a:b/c@1", "a:b/c@1.0.0"),
    ] {
        assert!(!compatible(a, b), "{a} {b}");
    }
}

#[test]
fn async_is_found_wherever_it_is() {
    assert!(!read(&handler("wasi:http/handler@0.3.0")).uses_async());
    for fields in [
        "(core func (canon task.cancel))",
        "(core func (canon waitable-set.new))",
        "(core func (canon context.get i32 0))",
        "(type (stream u8))",
        "(type (func async))",
        "(type (component (type (instance (type (stream))))))",
        r#"(import "a:b/c@1.0.0" (instance (export "f" (func async))))"#,
        "(component (core func (canon subtask.drop)))",
        "(component (component (type (future))))",
        r#"(import "f" (func $f)) (core func (canon lower (func $f) async))"#,
    ] {
        assert!(read(fields).uses_async(), "{fields}");
    }
    let sync = r#"(import "f" (func $f)) (core func (canon lower (func $f))) (type $r (resource (rep i32)))
        (core func (canon resource.new $r)) (core func (canon resource.drop $r))"#;
    assert!(!read(sync).uses_async());
}

/// Stepping over modules is what makes reading fast: here one would be an error if it were looked into.
#[test]
fn core_modules_are_not_read() {
    let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
    wasm.push(1);
    wasm.extend(leb(3 << 20));
    wasm.extend(b"\0asm\x01\0\0\0");
    wasm.resize(wasm.len() + (3 << 20) - 8, 0xff);
    wasm.extend(&binary(&handler("wasi:http/handler@0.3.0"))[8..]);
    assert_eq!(Interfaces::read(&wasm).unwrap().version(), Some(HttpVersion::P3));
}

#[test]
fn both_worlds_are_found_in_wit() {
    let worlds = Worlds::embedded();
    let handlers = ["wasi:http/incoming-handler@0.2.12", "wasi:http/handler@0.3.0"];
    assert_eq!(
        handlers.map(|name| worlds.handler(name)),
        [Some(HttpVersion::P2), Some(HttpVersion::P3)]
    );
    for (name, item) in [
        ("wasi:http/types@0.2.12", "[method]fields.get"),
        ("wasi:http/outgoing-handler@0.2.12", "handle"),
        ("wasi:http/client@0.3.0", "send"),
        ("wasi:http/types@0.3.0", "request"),
        ("wasi:cli/stdout@0.3.0", "write-via-stream"),
        ("wasi:config/store@0.2.0-rc.1", "get"),
        ("wasi:keyvalue/store@0.2.0-draft", "bucket"),
    ] {
        let (known, items) = worlds.find(name).expect(name);
        assert!(known == name && items.contains(item), "{name}: {items:?}");
    }
}

/// Else it would depend on their order which of the two an import is compared with.
#[test]
fn no_two_interfaces_in_wit_are_compatible() {
    let names: Vec<_> = Worlds::embedded().imports().collect();
    assert!(names.len() > 40, "{names:?}");
    for (i, a) in names.iter().enumerate() {
        assert!(names[i + 1..].iter().all(|b| !compatible(a, b)), "{a}");
    }
}

#[test]
fn every_file_in_wit_is_embedded() {
    fn collect(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("wit/ is in the crate") {
            let path = entry.expect("wit/ can be listed").path();
            if path.is_dir() {
                collect(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "wit") {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let mut found = BTreeSet::new();
    collect(&root, &root, &mut found);
    let embedded =
        [&P2, &P3].into_iter().flat_map(|folder| folder.deps.iter().chain([&folder.world]));
    let embedded: BTreeSet<_> =
        embedded.flat_map(|files| files.iter().map(|(path, _)| path.to_string())).collect();
    assert_eq!(embedded, found);
}
