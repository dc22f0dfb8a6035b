use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use millpond_engine::{Charge, HostLimits, MemoryAccount};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::{FieldMap, WasiHttpView, default_hooks};

use super::{GuestKind, Held};
use crate::StoreData;

const KIND: GuestKind = GuestKind { concurrent: false, has_files: false };

/// What an instance is charged for from its start, besides its resources.
fn uncounted() -> usize {
    HostLimits::default().uncounted(false)
}

/// Of a guest that has begun.
fn data(account: &MemoryAccount) -> StoreData {
    let (wasi, limits) = (WasiCtx::builder().build(), HostLimits::default());
    let mut data = StoreData::with_limits(wasi, 0, limits, Some(account.clone()));
    data.begin(KIND).expect("there is room for one");
    data
}

/// A call that makes the host hold 100 KiB. False if the guest has no table any more.
fn hold(data: &mut StoreData) -> bool {
    let value = HeaderValue::from_bytes(&[b'x'; 100 << 10]).expect("a value");
    let map = HeaderMap::from_iter([(http::header::COOKIE, value)]);
    let fields = FieldMap::new_immutable(default_hooks(), map);
    data.http().table.push(fields).is_ok()
}

#[test]
fn what_is_held_is_charged_before() {
    let account = MemoryAccount::new(1 << 30);
    let mut data = data(&account);
    for n in 1..=80 {
        assert!(hold(&mut data));
        assert!(account.used() - uncounted() >= n * (100 << 10), "{n}: {account:?}");
        assert!(account.used() <= 12 << 20, "{n}: {account:?}");
    }
    assert!((0..20).any(|_| !hold(&mut data)), "9 MiB is too much");
    assert_eq!(data.usage().resources, 0, "all is gone at once");
    let one = account.used();
    let other = self::data(&account);
    assert_eq!(account.used(), 2 * one, "as from its start");
    drop((data, other));
    assert_eq!((account.used(), account.refused()), (0, 0));
}

#[test]
fn all_together_hold_what_they_may() {
    let account = MemoryAccount::new(32 << 20);
    let mut guests: Vec<_> = (0..10).map(|_| data(&account)).collect();
    let mut most = 0;
    for _ in 0..50 {
        for guest in &mut guests {
            hold(guest);
        }
        let held: usize = guests.iter_mut().map(|guest| guest.usage().resources).sum();
        assert!(held * (100 << 10) + 10 * uncounted() <= 32 << 20, "{held} of 100 KiB each");
        most = most.max(held);
    }
    assert!(most > 100 && account.refused() > 0, "{most}, {account:?}");
}

#[test]
fn what_has_gone_is_not_held() {
    let account = MemoryAccount::new(1 << 30);
    let mut data = data(&account);
    let from_start = account.used();
    // As many headers pass as an instance has in hundreds of requests.
    for _ in 0..100 {
        for _ in 0..100 {
            data.http().hooks.is_forbidden_header(&http::header::COOKIE);
        }
        data.usage();
    }
    assert_eq!(account.used(), from_start);
}

#[test]
fn places_that_are_free_are_held() {
    let mut held = Held::new(HostLimits::default(), Charge::default());
    let mut table = ResourceTable::new();
    let all: Vec<_> = (0..9000).map(|_| table.push(()).expect("room")).collect();
    held.settle(&mut table);
    for one in all {
        table.delete(one).expect("it is there");
    }
    held.settle(&mut table);
    assert_eq!(held.bound, 9000 * super::PLACE, "the table keeps them");
}

#[test]
fn what_is_under_way_is_charged() {
    let account = MemoryAccount::new(1 << 30);
    let mut data = data(&account);
    let before = account.used();
    let listed = data.under_way(4 << 20);
    data.http();
    assert!(account.used() - uncounted() >= 4 << 20, "{account:?}");
    // Taking a guest's resources away ends nothing of that.
    assert!((0..100).any(|_| !hold(&mut data)), "with this, it is too much");
    assert!(account.used() - uncounted() >= 4 << 20, "{account:?}");
    drop(listed);
    data.usage();
    assert_eq!(account.used(), before);
}

#[test]
fn a_directory_without_room_is_not_listed() {
    let limits = HostLimits::default();
    let from_start = limits.resources_charged(0) + limits.uncounted(false);
    let account = MemoryAccount::new(from_start + (1 << 20));
    let mut data = data(&account);
    let _listed = data.under_way(4 << 20);
    assert!(data.http().table.push(()).is_err(), "it is cut off before");
    assert_eq!(account.refused(), 1);
}

fn request() -> http::Request<Full<Bytes>> {
    http::Request::new(Full::new(Bytes::from_static(b"body")))
}

#[test]
fn requests_take_three_quarters() {
    let mut held = Held::new(HostLimits::default(), Charge::default());
    let sent: Vec<_> = std::iter::from_fn(|| held.send(&request())).take(1000).collect();
    assert_eq!(sent.len(), 21, "as the guide has it; of all there would be 28");
    drop(sent);
    assert!(held.send(&request()).is_some(), "when they are over, there is room");
}

#[test]
fn a_request_without_room_fails_alone() {
    let limits = HostLimits::default();
    let from_start = limits.resources_charged(0) + limits.uncounted(false);
    let account = MemoryAccount::new(from_start + (1 << 20));
    let mut held = Held::new(limits, Charge::new(Some(account.clone())));
    held.begin(KIND, 0).expect("there is room for one");
    let mut table = ResourceTable::new();
    let mut sent = Vec::new();
    while let Some(one) = held.send(&request()) {
        held.call(&mut table);
        sent.push(one);
        assert!(sent.len() < 1000);
    }
    assert!((2..15).contains(&sent.len()), "before they take three quarters: {}", sent.len());
    assert_eq!(account.refused(), 1);
    held.call(&mut table);
    assert!(table.push(()).is_ok(), "it is not cut off");
}
