//! Guests that import WASI preview 1.

use millpond::Reason;
use millpond::http_wasm::Output;
use millpond_tests::{Front, guest_module};

use crate::setup::{PROTOCOLS, Script, assert_failure, guests, header, out, says, wat};

#[tokio::test]
async fn what_a_guest_prints_is_not_in_its_way() {
    for output in [Output::None, Output::Prefixed] {
        let pool = guests(|builder| builder.output(output)).await;
        let front = Front::start(pool, says("hello")).await;
        let mut client = front.connect(PROTOCOLS[0]).await;
        let reply = Script("print before;instance", "print after").get(&mut client).await;
        assert_eq!((reply.text(), out(&reply)), ("hello", "1"));
    }
}

#[tokio::test]
async fn a_guest_knows_its_name_but_not_its_path() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let reply = Script("args", "").get(&mut front.connect(PROTOCOLS[0]).await).await;
    let file = guest_module().file_name().and_then(|file| file.to_str());
    assert_eq!(Some(out(&reply)), file);
}

#[tokio::test]
async fn a_guest_that_exits_is_a_500_and_gone() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    for (protocol, exits) in PROTOCOLS.into_iter().zip([0, 3]) {
        let mut client = front.connect(protocol).await;
        for script in [Script("exit 1", ""), Script("", "exit 1"), Script("exit 0", "")] {
            let reply = script.get(&mut client).await;
            assert_failure(&reply, 500, "proxy_internal_error", "guest exited");
        }
        let now = front.until("they are gone", |now| now.instances.live() == 0).await;
        assert_eq!((now.retired.get(Reason::Exit), now.retired.total()), (exits + 3, exits + 3));
    }
    let mut client = front.connect(PROTOCOLS[0]).await;
    assert_eq!(out(&Script("requests", "").get(&mut client).await), "1");
}

/// Says in the header `a` what it has counted: `start` once, and each request.
fn counter(start: &str) -> String {
    format!(
        r#"(module
            (import "http_handler" "set_header_value"
                (func $set (param i32 i32 i32 i32 i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "a0")
            (func $count
                (i32.store8 (i32.const 1) (i32.add (i32.load8_u (i32.const 1)) (i32.const 1))))
            {start}
            (func (export "handle_request") (result i64)
                (call $count)
                (call $set (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1))
                (i64.const 1))
            (func (export "handle_response") (param i32 i32)))"#
    )
}

#[tokio::test]
async fn the_start_function_runs_once() {
    for (start, first) in [
        ("", "1"),
        ("(start $count)", "2"),
        (r#"(func (export "_initialize") (call $count))"#, "2"),
        (r#"(func (export "_start") (call $count))"#, "2"),
        (r#"(func (export "_start") (call $count) (call $exit (i32.const 0)) unreachable)"#, "2"),
        (r#"(start $count) (func (export "_initialize") (call $count))"#, "3"),
    ] {
        let front = Front::start(wat(counter(start), |builder| builder).await, says("")).await;
        assert_eq!(header(&front.get("/").await, "a"), first, "{start}");
        let next = (first.parse::<u32>().expect("a number") + 1).to_string();
        assert_eq!(header(&front.get("/").await, "a"), next, "{start}");
    }
}

#[tokio::test]
async fn guests_share_no_state() {
    let gate = crate::setup::Gate::closed();
    let front = Front::start(guests(|builder| builder).await, gate.app()).await;
    let script = Script("features 2;requests;kept;keep mine", "kept;tell");
    let sent: Vec<_> = (0..4).map(|_| crate::setup::Sent::get(front.addr, script)).collect();
    gate.until_come(4).await;
    gate.open(4);
    for sent in sent {
        assert_eq!(out(&sent.reply().await), "2;1;", "nothing of the others'");
    }
}
