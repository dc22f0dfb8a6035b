//! Guests that pass what cannot be: each traps, and is gone.

use millpond::Reason;
use millpond_tests::Front;

use crate::setup::{PROTOCOLS, Script, assert_trap, guests, mirrored, out, says};

const END: u32 = u32::MAX;

#[tokio::test]
async fn what_is_not_in_memory_traps() {
    let front = mirrored().await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    for (n, command) in [
        format!("raw get_method {END} 9"),
        format!("raw get_uri {END} 9"),
        format!("raw get_protocol_version {END} 9"),
        format!("raw get_source_addr {END} 99"),
        format!("raw get_header_names 0 {END} 99"),
        format!("raw get_header_values 0 {END} 9 0 99"),
        "raw get_header_values 0 0 4294967295 0 99".to_owned(),
        format!("raw set_header_value 0 {END} 9 0 1"),
        format!("raw add_header_value 1 {END} 9 0 1"),
        format!("raw remove_header 0 {END} 9"),
        format!("raw read_body 0 {END} 9"),
        "raw read_body 0 0 4294967295".to_owned(),
        format!("raw write_body 1 {END} 9"),
        "raw write_body 1 0 4294967295".to_owned(),
        format!("raw set_method {END} 9"),
        format!("raw set_uri {END} 9"),
        format!("raw log 2 {END} 9"),
    ]
    .iter()
    .enumerate()
    {
        assert_trap(&Script(command, "").get(&mut client).await);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        let (traps, ended) = (now.retired.get(Reason::Trap), now.retired.total());
        assert_eq!((traps, ended), (n as u64 + 1, n as u64 + 1), "{command}");
    }
    let nothing = Script(&format!("raw get_config {END} 9"), "").get(&mut client).await;
    assert_eq!(out(&nothing), "0", "nothing has no place");
}

#[tokio::test]
async fn bad_pointers_trap_and_the_pool_goes_on() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let scripts = [
        "names 4 9",
        "values 4 a 9",
        "set 4 a b",
        "add 9 a b",
        "remove 4 a",
        "read 2 9",
        "write 2 a",
        "read 0 0",
        "values 0 % 9",
        "set 0 % b",
        "add 1 % b",
        "remove 0 %",
        "values 0 a%20b 9",
        "set 0 a%0Ab c",
        "set 1 a b%0Ac",
        "add 1 a b%00c",
        "remove 0 a:b",
        "set_method %",
        "set_method A%20B",
        "set_uri no-slash",
        "set_uri */x",
        "set_status 99",
        "set_status 100",
        "set_status 103",
        "set_status 1000",
        "set_status 0",
        "set_status 65736",
        // Not before there is one.
        "features 2;read 0 0",
    ];
    for (n, script) in scripts.into_iter().enumerate() {
        assert_trap(&Script(script, "").get(&mut client).await);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!(now.retired.get(Reason::Trap), n as u64 + 1, "{script}");
    }
    assert_eq!(out(&Script("requests", "").get(&mut client).await), "1");
}

#[tokio::test]
async fn the_request_is_fixed_after_the_handler() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let scripts = [
        "set_method POST",
        "set_uri /",
        "set 0 a b",
        "add 0 a b",
        "remove 0 a",
        "set 2 a b",
        "add 2 a b",
        "remove 2 a",
        "write 0 a",
    ];
    for (n, script) in scripts.into_iter().enumerate() {
        assert_trap(&Script("features 7", script).get(&mut client).await);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!(now.retired.get(Reason::Trap), n as u64 + 1, "{script}");
    }
}

#[tokio::test]
async fn unbuffered_responses_cannot_be_changed() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let scripts = [
        "set_status 200",
        "set 1 a b",
        "add 1 a b",
        "remove 1 a",
        "set 3 a b",
        "add 3 a b",
        "remove 3 a",
        "write 1 a",
        "read 1 9",
        "read 0 9",
    ];
    for (n, script) in scripts.into_iter().enumerate() {
        // One small body, all there: the client has nothing of it yet.
        assert_trap(&Script("features 4", script).get(&mut client).await);
        let now = front.until("the guest is gone", |now| now.instances.live() == 0).await;
        assert_eq!(now.retired.get(Reason::Trap), n as u64 + 1, "{script}");
    }
}

#[tokio::test]
async fn a_guest_sets_no_more_headers_than_it_may() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    for kind in ["stuff 0 ", "stuff 2 ", "stuff 1 ", "stuff 3 "] {
        let script = format!("{kind}300 4096;answer");
        assert_trap(&Script(&script, "").get(&mut client).await);
    }
    // However small they are.
    assert_eq!(Script("stuff 2 4000 1;answer", "").get(&mut client).await.status, 200);
    assert_trap(&Script("stuff 2 4001 1;answer", "").get(&mut client).await);
    // Those of a request are its own.
    for _ in 0..20 {
        assert_eq!(Script("stuff 0 20 4000;answer", "").get(&mut client).await.status, 200);
    }
}
