//! Another module in place of the one that a pool has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Poll;

use millpond::Reason;
use millpond::expiration::{InstanceExpiration as _, boxed, from_fn};
use millpond_tests::{Front, PATIENCE, guest_module, until};

use crate::setup::{Gate, PASS, Script, Sent, back, guests, header, module, out, says, wat};

/// A guest that says in the header `a` which version it is.
fn version(number: u32) -> String {
    module(&format!(
        r#"(data (i32.const 0) "a{number}")
        (func (export "handle_request") (result i64)
            (call $set_header_value
                (i32.const 1) (i32.const 0) (i32.const 1)
                (i32.const 1) (i32.const {}))
            (i64.const 1))
        (func (export "handle_response") (param i32 i32) nop nop (drop (i32.const 0)))"#,
        number.to_string().len()
    ))
}

#[tokio::test]
async fn running_requests_keep_the_old_guest() {
    let gate = Gate::closed();
    let front = Front::start(guests(|builder| builder).await, gate.app()).await;
    let script = Script("features 2;keep mine", "kept;requests;tell");
    let pinned = [Sent::get(front.addr, script), Sent::get(front.addr, script)];
    gate.until_come(2).await;

    front.pool.reload_bytes(version(2)).await.expect("a guest");
    let now = front.pool.snapshot();
    assert_eq!((now.pinned, now.retired.total()), (2, 0), "they keep theirs");
    let new = Sent::get(front.addr, script);
    gate.until_come(1).await;
    let now = front.pool.snapshot();
    assert_eq!((now.pinned, now.starts, now.instances.live()), (3, 3, 3), "the old ones count");
    gate.open(3);
    for sent in pinned {
        let reply = sent.reply().await;
        assert_eq!((reply.text(), back(&reply)), ("through\n", "mine;1"));
    }
    let reply = new.reply().await;
    assert_eq!((header(&reply, "a"), reply.text()), ("2", "through\n"));
    let swapped = |now: &millpond::Snapshot| now.retired.get(Reason::Swap) == 2;
    let now = front.until("the old ones are gone", swapped).await;
    assert_eq!((now.retired.total(), now.instances.idle), (2, 1));
}

#[tokio::test]
async fn idle_guests_of_the_old_module_go_at_once() {
    let front = Front::start(wat(version(1), |builder| builder).await, says("hello")).await;
    assert_eq!(header(&front.get("/").await, "a"), "1");
    front.pool.reload_bytes(version(2)).await.expect("a guest");
    assert_eq!(header(&front.get("/").await, "a"), "2");
    let now = front.until("the old one is gone", |now| now.instances.live() == 1).await;
    assert_eq!((now.retired.get(Reason::Swap), now.starts), (1, 2));
}

#[tokio::test]
async fn a_request_that_waits_gets_the_new_module() {
    let gate = Gate::closed();
    let pool = wat(version(1), |builder| builder.limits(|limits| limits.max_instances = 1)).await;
    let front = Front::start(pool, gate.app()).await;
    let first = Sent::get(front.addr, Script("", ""));
    gate.until_come(1).await;
    let waits = Sent::get(front.addr, Script("", ""));
    front.until("it waits", |now| now.queued == 1).await;
    // Though the pool is full.
    front.pool.reload_bytes(version(2)).await.expect("a guest");
    gate.open(2);
    assert_eq!(header(&first.reply().await, "a"), "1");
    assert_eq!(header(&waits.reply().await, "a"), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reloads_are_serialized() {
    let gate = Gate::closed();
    let pool = wat(version(1), |builder| builder.limits(|limits| limits.max_instances = 1)).await;
    let front = Front::start(pool, gate.app()).await;
    let first = Sent::get(front.addr, Script("", ""));
    gate.until_come(1).await;
    // Their guests take a while to start, and there is one place beside the pinned one.
    let slow = |number| {
        let start = "(func $start (local $i i32) (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 50000000)))))
            (start $start))";
        version(number).strip_suffix(')').expect("a module").to_owned() + start
    };
    let reloads = (2..=5).map(|number| {
        let pool = front.pool.clone();
        tokio::spawn(async move { pool.reload_bytes(slow(number)).await })
    });
    for reload in futures::future::join_all(reloads).await {
        reload.expect("no panic").expect("a guest");
    }
    gate.open(2);
    assert_eq!(header(&first.reply().await, "a"), "1");
    assert!(["2", "3", "4", "5"].contains(&header(&front.get("/").await, "a")));
}

#[tokio::test]
async fn a_reload_waits_for_room_to_try_a_module() {
    let gate = Gate::closed();
    let pool = wat(version(1), |builder| builder.limits(|limits| limits.max_instances = 1)).await;
    let front = Front::start(pool, gate.app()).await;
    // More than the allocator was made for: requests can take the place that was for trials.
    let mut limits = front.pool.limits();
    limits.max_instances = 8;
    limits.start_timeout = std::time::Duration::from_millis(50);
    front.pool.set_limits(limits.clone());
    let mut pinned = Vec::new();
    for _ in 0..2 {
        pinned.push(Sent::get(front.addr, Script("", "")));
        gate.until_come(1).await;
    }
    let error = front.pool.reload_bytes(version(2)).await.expect_err("no room").to_string();
    let expected = "cannot try the module: no room for one more instance for start_timeout, 50ms";
    assert_eq!(error, expected);

    limits.start_timeout = std::time::Duration::from_secs(60);
    front.pool.set_limits(limits);
    let pool = front.pool.clone();
    let reload = tokio::spawn(async move { pool.reload_bytes(version(2)).await });
    front.pool.stop();
    reload.await.expect("no panic").expect("a guest");
}

// The policies of the old and the new spare hold a thread each, and the request may wait for one of them: one is left for timers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn old_spares_serve_no_request_after_reload() {
    // The policy of the spare is asked as soon as the pool knows of it, and takes its time.
    let (asked, told) = (Gate::closed(), Arc::new(AtomicBool::new(false)));
    let (ask, tell) = (asked.clone(), Arc::clone(&told));
    let pool = wat(version(1), |builder| {
        let builder = builder.limits(|limits| (limits.max_instances, limits.min_idle) = (1, 1));
        builder.expiration(move |policy| {
            let (ask, tell) = (ask.clone(), Arc::clone(&tell));
            boxed(policy.or(from_fn(move |_| {
                ask.come();
                let begun = std::time::Instant::now();
                while !tell.load(SeqCst) && begun.elapsed() < PATIENCE {
                    std::thread::yield_now();
                }
                Poll::Pending
            })))
        })
    });
    let front = Front::start(pool.await, says("hello")).await;
    asked.until_come(1).await;
    let pool = front.pool.clone();
    let reload = tokio::spawn(async move { pool.reload_bytes(version(2)).await });
    // It may wait for the policy, but not before the spare is to go.
    until("the reload is done, or the spare ends", || {
        let idle = front.pool.snapshot().instances.idle;
        (reload.is_finished() || idle == 0).then_some(())
    })
    .await;
    let sent = Sent::get(front.addr, Script("", ""));
    front.until("the request is there", |now| now.submitted == 1).await;
    told.store(true, SeqCst);
    assert_eq!(header(&sent.reply().await, "a"), "2");
    reload.await.expect("no panic").expect("a guest");
}

#[tokio::test]
async fn a_bad_module_leaves_the_old_one() {
    let front = Front::start(wat(version(1), |builder| builder).await, says("hello")).await;
    assert_eq!(header(&front.get("/").await, "a"), "1");
    for (bad, expected) in [
        ("(module)".to_owned(), "the module is no http-wasm guest"),
        (
            module(&format!("{PASS} (func $start unreachable) (start $start)")),
            "the module does not start",
        ),
        ("what".to_owned(), "the module is no module"),
    ] {
        let error = front.pool.reload_bytes(bad).await.expect_err("no guest").to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(header(&front.get("/").await, "a"), "1");
    }
    assert!(front.pool.reload_file("/no/such.wasm").await.is_err());
    let now = front.pool.snapshot();
    assert_eq!((now.starts, now.retired.total()), (1, 0), "not even its guests");
}

#[tokio::test]
async fn a_reload_keeps_the_config_by_default() {
    let front = Front::start(guests(|builder| builder.config(*b"one")).await, says("hello")).await;
    let config = async || {
        let mut client = front.connect(crate::setup::PROTOCOLS[0]).await;
        out(&Script("config 9;requests", "").get(&mut client).await).to_owned()
    };
    assert_eq!(config().await, "3=one;1");
    front.pool.reload_file(guest_module()).await.expect("a guest");
    assert_eq!(config().await, "3=one;1", "another guest, the same configuration");
    let bytes = std::fs::read(guest_module()).expect("a file");
    front.pool.reload_with_config(bytes.clone(), *b"two").await.expect("a guest");
    assert_eq!(config().await, "3=two;1");
    front.pool.reload_bytes(bytes).await.expect("a guest");
    assert_eq!(config().await, "3=two;1");
}

/// Resident memory in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_reloads_leave_nothing_behind() {
    // The other tests' memory would count.
    let mut process = std::process::Command::new(std::env::current_exe().expect("a path"));
    process.args(["--exact", "instances::reload::a_thousand_reloads", "--ignored", "--nocapture"]);
    let output = process.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[tokio::test]
#[cfg(target_os = "linux")]
#[ignore = "runs in a process of its own, see above"]
async fn a_thousand_reloads() {
    let front = Front::start(wat(version(0), |builder| builder).await, says("hello")).await;
    let mut client = front.connect(crate::setup::PROTOCOLS[0]).await;
    let mut warm = 0;
    for reload in 1..=1000 {
        front.pool.reload_bytes(version(reload)).await.expect("a guest");
        let reply = client.get("/").await;
        assert_eq!((header(&reply, "a"), reply.text()), (reload.to_string().as_str(), "hello"));
        if reload == 200 {
            warm = resident();
        }
    }
    let now = front.until("the old ones are gone", |now| now.instances.live() == 1).await;
    assert_eq!((now.retired.get(Reason::Swap), now.retired.total()), (999, 999));
    let grown = resident().saturating_sub(warm);
    println!("{warm} kB after 200 reloads, {grown} kB more after 1000");
    // 800 modules that stay take 28 MB.
    assert!(grown < 8 << 10, "{grown} kB more than the {warm} kB after 200 reloads");
}
