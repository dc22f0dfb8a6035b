//! Guests that look for what an earlier instance left.

use futures::future::join_all;

use super::{came_to_its_end, component, ends, serve_component};

/// Instances, each of which has the place of an earlier one. By hand: 100 000.
const INSTANCES: usize = 2000;
/// At a time: there are as many places.
const AT_ONCE: usize = 4;

/// Traps if anything is left in its memory, its table or its globals. Then it leaves a secret in each,
/// in all of what it has by then.
const LEAVES_ALL: &str = r#"
    (memory 8 32)
    (table $table 64 512 funcref)
    (global $global (mut i64) (i64.const 0))
    (elem declare func $look)
    (func $look (local $at i32)
        (if (i64.ne (global.get $global) (i64.const 0)) (then (unreachable)))
        (drop (memory.grow (i32.const 8)))
        (loop $words
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $words (i32.lt_u (local.get $at) (i32.shl (memory.size) (i32.const 16)))))
        (drop (table.grow $table (ref.null func) (i32.const 64)))
        (local.set $at (i32.const 0))
        (loop $elements
            (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then (unreachable)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $elements (i32.lt_u (local.get $at) (table.size $table)))))
    (func (export "handle") (param i32 i32)
        (call $look)
        (global.set $global (i64.const 0x5ec2e75ec2e7))
        (memory.fill (i32.const 0) (i32.const 0x5e) (i32.shl (memory.size) (i32.const 16)))
        (table.fill $table (i32.const 0) (ref.func $look) (table.size $table)))"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_earlier_instance_is_found() {
    let server = serve_component(component("", "", LEAVES_ALL), |builder| {
        builder.limits(|limits| {
            limits.max_instances = AT_ONCE;
            limits.max_requests = millpond::MaxRequests::exactly(1);
        })
    })
    .await;
    for _ in 0..INSTANCES / AT_ONCE {
        for reply in join_all((0..AT_ONCE).map(|_| server.get("/"))).await {
            assert!(came_to_its_end(&reply), "it found something");
        }
    }
    assert_eq!(ends(&server).await.starts as usize, INSTANCES);
}

/// That it would be found: an instance that serves twice finds what it left itself.
#[tokio::test]
async fn what_it_left_itself_is_found() {
    let again = LEAVES_ALL.replacen("(export \"handle\")", "$first", 1)
        + r#"(func (export "handle") (param i32 i32)
            (call $first (i32.const 0) (i32.const 0))
            (call $first (i32.const 0) (i32.const 0)))"#;
    let server = serve_component(component("", "", &again), |builder| builder).await;
    assert!(!came_to_its_end(&server.get("/").await));
    ends(&server).await;
}
