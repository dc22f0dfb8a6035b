//! Files that are no good components: each is refused with one line, in good time.

use millpond::HttpVersion::{P2, P3};
use millpond::{Interfaces, Output, WasiHost, WasmPool};
use millpond_tests::guest;

/// How deep things are nested here. Each level is a few frames in a reader that recurses.
const DEEP: usize = 20_000;

/// What is said of it.
async fn refusal(name: &str, bytes: Vec<u8>) -> String {
    println!("{name}: {} bytes", bytes.len());
    let builder = WasmPool::builder(WasiHost::new().output(Output::None)).without_cache();
    // With a stack as the threads have that compile.
    let built = tokio::task::spawn_blocking(move || builder.from_bytes(&bytes));
    let error = built.await.expect("no panic").map(drop).expect_err(name).to_string();
    assert!(!error.contains('\n') && error.len() < 10_000, "{name}: {error}");
    error
}

fn leb(mut n: usize, to: &mut Vec<u8>) {
    while n > 0x7f {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    leb(content.len(), &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component in a component, and so on.
fn nested_components() -> Vec<u8> {
    // Fewer: what compiles them takes a time that grows with the square.
    (0..DEEP / 10).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT, &section(4, &inner)].concat())
}

/// Lists of lists, and so on.
fn nested_lists() -> Vec<u8> {
    let mut types = Vec::new();
    leb(DEEP, &mut types);
    types.extend([0x70, 0x7d]);
    for i in 0..DEEP - 1 {
        // Two or three bytes, none of which can be taken for a sign.
        types.extend([0x70, i as u8 | 0x80, (i >> 7) as u8 | 0x80, (i >> 14) as u8]);
    }
    [COMPONENT, &section(7, &types)].concat()
}

/// As many types as a file has room for.
fn many_types() -> Vec<u8> {
    let mut types = Vec::new();
    leb(2_000_000, &mut types);
    types.resize(types.len() + 2_000_000, 0x7d);
    [COMPONENT, &section(7, &types)].concat()
}

/// With an export as one must have to be compiled at all.
fn with_handler(component: Vec<u8>) -> Vec<u8> {
    let name = b"wasi:http/incoming-handler@0.2.0";
    let mut export = vec![1, 0, name.len() as u8];
    export.extend_from_slice(name);
    export.extend([5, 0, 0]);
    // An instance that exports nothing.
    [component, section(5, &[1, 1, 0]), section(11, &export)].concat()
}

#[tokio::test]
async fn deep_components_are_refused() {
    let text = |open: &str, close: &str| format!("{}{}", open.repeat(DEEP), close.repeat(DEEP));
    for (name, bytes) in [
        ("components", with_handler(nested_components())),
        ("lists", with_handler(nested_lists())),
        ("types", with_handler(many_types())),
        ("text", text("(component ", ")").into_bytes()),
        (
            "type text",
            format!("(component (type {}u8{}))", "(list ".repeat(DEEP), ")".repeat(DEEP))
                .into_bytes(),
        ),
        (
            "blocks",
            format!(
                r#"(component (core module (func {}{})) (instance $none)
                    (export "wasi:http/incoming-handler@0.2.0" (instance $none)))"#,
                "(block ".repeat(DEEP),
                ")".repeat(DEEP)
            )
            .into_bytes(),
        ),
        ("comments", text("(;", ";)").into_bytes()),
    ] {
        let error = refusal(name, bytes).await;
        println!("{name}: {}", &error[..error.len().min(200)]);
    }
}

#[tokio::test]
async fn broken_components_are_refused() {
    const CUTS: usize = 40;
    for version in [P2, P3] {
        let good = std::fs::read(guest(version)).expect("it is built");
        for i in 0..CUTS {
            let cut = good[..good.len() * i / CUTS].to_vec();
            refusal(&format!("{i}"), cut).await;
        }
        // What is read of it before it is compiled. That may still be something.
        for at in (0..good.len()).step_by(good.len() / 200) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Err(error) = Interfaces::read(&flipped) {
                assert!(!error.to_string().contains('\n'), "{at}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn large_files_are_refused() {
    let builder = WasmPool::builder(WasiHost::new()).max_component_size(1000);
    let built = tokio::task::spawn_blocking(move || builder.from_file(guest(P2)));
    let error = built.await.expect("no panic").map(drop).expect_err("too large").to_string();
    assert!(error.ends_with("expected at most 1000 bytes, and it has more"), "{error}");
    // One that has no end.
    let builder = WasmPool::builder(WasiHost::new()).max_component_size(1 << 20);
    let built = tokio::task::spawn_blocking(move || builder.from_file("/dev/zero"));
    let error = built.await.expect("no panic").map(drop).expect_err("too large").to_string();
    assert!(error.contains("expected at most 1048576 bytes"), "{error}");
}
