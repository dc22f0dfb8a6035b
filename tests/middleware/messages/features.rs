//! What guests enable, and when.

use millpond_tests::Front;

use crate::setup::{PASS, Script, back, guests, header, module, out, says, wat};

#[tokio::test]
async fn features_of_a_request_are_its_own() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(crate::setup::PROTOCOLS[0]).await;
    for (script, expected) in [
        (Script("features 0", ""), "0"),
        (Script("features 1", ""), "1"),
        (Script("features 0", ""), "0"),
        (Script("features 2;features 4;features 0", ""), "2;6;6"),
        (Script("features 7", ""), "7"),
        (Script("features 8", ""), "0"),
        (Script("features 4294967295", ""), "7"),
        (Script("features 4294967288", ""), "0"),
    ] {
        assert_eq!(out(&script.get(&mut client).await), expected, "{}", script.0);
    }
    assert_eq!(front.pool.snapshot().starts, 1, "all in one guest");
}

#[tokio::test]
async fn after_the_next_handler_it_is_too_late() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(crate::setup::PROTOCOLS[0]).await;
    let reply = Script("features 2", "features 1;features 7;tell").get(&mut client).await;
    assert_eq!(back(&reply), "2;2");
    // Nor does it hold for the next request.
    let reply = Script("", "features 3").get(&mut client).await;
    assert_eq!(reply.text(), "hello");
    assert_eq!(out(&Script("last;features 0", "").get(&mut client).await), "0;0");
}

#[tokio::test]
async fn features_enabled_at_start_hold_for_all() {
    for start in [
        "(start $enable)",
        r#"(export "_initialize" (func $enable))"#,
        r#"(export "_start" (func $enable))"#,
    ] {
        let guest = module(&format!(
            r#"(global $got (mut i32) (i32.const 0))
            (func $enable (global.set $got (call $enable_features (i32.const 0x7fffff02))))
            {start}
            (func (export "handle_request") (result i64)
                (if (i32.ne (global.get $got) (i32.const 2)) (then unreachable))
                (if (i32.ne (call $enable_features (i32.const 0)) (i32.const 2))
                    (then unreachable))
                (drop (call $enable_features (i32.const 1)))
                (i64.const 1))
            (func (export "handle_response") (param i32 i32)
                (call $set_status_code (i32.const 203)))"#
        ));
        let front = Front::start(wat(guest, |builder| builder).await, says("hello")).await;
        for _ in 0..3 {
            let reply = front.get("/").await;
            assert_eq!((reply.status.as_u16(), reply.text()), (203, "hello"), "{start}");
        }
    }
}

#[tokio::test]
async fn a_starting_guest_has_no_request() {
    for call in [
        "(drop (call $get_method (i32.const 0) (i32.const 9)))",
        "(call $set_status_code (i32.const 200))",
        "(drop (call $get_header_names (i32.const 0) (i32.const 0) (i32.const 9)))",
        "(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 9)))",
    ] {
        let guest = module(&format!("{PASS} (func $start {call}) (start $start)"));
        let builder = millpond::http_wasm::HttpWasmPool::builder().without_cache();
        let error = builder.from_bytes(guest).await.expect_err("it traps").to_string();
        assert_eq!(error, "the module does not start: there is no request while the guest starts");
    }
}

#[tokio::test]
async fn a_starting_guest_can_read_its_config() {
    let guest = module(
        r#"(func $start (drop (call $get_config (i32.const 0) (i32.const 99)))) (start $start)
        (func (export "handle_request") (result i64)
            (call $set_header_value
                (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 2))
            (i64.const 0))
        (func (export "handle_response") (param i32 i32))"#,
    );
    let front = Front::start(wat(guest, |builder| builder.config(*b"a42")).await, says("")).await;
    assert_eq!(header(&front.get("/").await, "a"), "42");
}
