use std::task::{Context, Poll, Waker};
use std::time::Instant;

use wasmtime::{Config, Instance, Module};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn engine() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true);
    Engine::new(&config).unwrap()
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn parks(ticks: &Ticks) {
    until("it parks", || ticks.0.0.parked.load(Ordering::SeqCst));
}

#[test]
fn nothing_ticks_while_no_guest_is_driven() {
    let engine = engine();
    let ticks = start_epoch_ticker(&engine);
    for _ in 0..3 {
        parks(&ticks);
        let before = ticks.count();
        // A thread that is parked is not late: this shows what it does when it is let.
        std::thread::sleep(TICK * 50);
        assert_eq!(ticks.count(), before);
        let driven = ticks.drive();
        let other = ticks.drive();
        drop(driven);
        until("it ticks", || ticks.count() > before + 3 * u64::from(LINGER));
        drop(other);
    }
}

#[test]
fn a_short_drive_keeps_it_awake() {
    let engine = engine();
    let ticks = start_epoch_ticker(&engine);
    parks(&ticks);
    let before = ticks.count();
    drop(ticks.drive());
    until("it ticks", || ticks.count() > before);
    parks(&ticks);
    assert!(ticks.count() > before + u64::from(LINGER));
}

#[test]
fn each_drive_ticks_after_parking() {
    let engine = engine();
    let ticks = start_epoch_ticker(&engine);
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut parked = 0;
    while parked < 50 && Instant::now() < deadline {
        parks(&ticks);
        // As it may park at this very moment.
        std::thread::sleep(Duration::from_micros(parked * 7));
        let before = ticks.count();
        let driven = ticks.drive();
        until("it ticks", || ticks.count() > before);
        drop(driven);
        parked += 1;
    }
}

#[test]
fn a_loop_after_idleness_is_interrupted() {
    let engine = engine();
    let ticks = start_epoch_ticker(&engine);
    let module = Module::new(&engine, r#"(module (func (export "loop") (loop (br 0))))"#).unwrap();
    let mut store = Store::new(&engine, ());
    begin_ticks(&mut store, |_| std::future::ready(()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let instance = Instance::new_async(&mut store, &module, &[]).await.unwrap();
        let endless = instance.get_typed_func::<(), ()>(&mut store, "loop").unwrap();
        parks(&ticks);
        let mut call = Box::pin(ticks.run(endless.call_async(&mut store, ())));
        for _ in 0..5 {
            assert!(poll_once(call.as_mut()).is_pending());
            parks(&ticks);
        }
    });
}

fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_ticker_ends_with_its_users() {
    let engine = engine();
    let ticks = start_epoch_ticker(&engine);
    let again = start_epoch_ticker(&engine);
    assert!(Arc::ptr_eq(&ticks.0, &again.0));
    let ticker = Arc::downgrade(&ticks.0.0);
    parks(&ticks);
    drop(ticks);
    assert!(ticker.strong_count() > 0);
    drop(again);
    until("the thread ends", || ticker.strong_count() == 0);
    // Also without having parked.
    let ticker = Arc::downgrade(&start_epoch_ticker(&engine).0.0);
    until("the thread ends", || ticker.strong_count() == 0);
}
