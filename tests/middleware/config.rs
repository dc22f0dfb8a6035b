//! The configuration, and buffers that are too small for what there is.

use millpond_tests::Front;

use crate::setup::{PROTOCOLS, Script, guests, mirrored, out, says};

#[tokio::test]
async fn any_bytes_are_a_configuration() {
    let bytes = *b"enabled=1\n\0\xff\xfe";
    let pool = guests(|builder| builder.config(bytes)).await;
    let front = Front::start(pool, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    let reply = Script("config 0;config 12;config 13;config 99", "").get(&mut client).await;
    let whole = "13=enabled=1%0A%00%FF%FE";
    assert_eq!(out(&reply), format!("13=-;13=-;{whole};{whole}"));
}

#[tokio::test]
async fn there_need_be_no_configuration() {
    let front = Front::start(guests(|builder| builder).await, says("hello")).await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    assert_eq!(out(&Script("config 0;config 9", "").get(&mut client).await), "0=;0=");
}

#[tokio::test]
async fn a_short_buffer_gets_only_the_length() {
    let front = mirrored().await;
    let mut client = front.connect(PROTOCOLS[0]).await;
    for (script, expected) in [
        (Script("method 0;method 2;method 3;method 4", ""), "3=-;3=-;3=GET;3=GET"),
        (Script("set_uri /abc;uri 0;uri 3;uri 4", ""), "4=-;4=-;4=/abc"),
        (Script("version 0;version 7;version 8", ""), "8=-;8=-;8=HTTP/1.1"),
        (
            Script("set 0 a bc;add 0 a d;values 0 a 0;values 0 a 4;values 0 a 5", ""),
            "2/5=-;2/5=-;2/5=bc|d|",
        ),
        (Script("set 1 a b;names 1 0;names 1 1;names 1 2", ""), "1/2=-;1/2=-;1/2=a|"),
        (Script("names 1 0;names 1 99", ""), "0/0=;0/0="),
        (Script("names 2 0;names 3 99", ""), "0/0=;0/0="),
    ] {
        assert_eq!(out(&script.get(&mut client).await), expected, "{}", script.0);
    }
    let reply = Script("source 0;source 8", "").get(&mut client).await;
    let len = out(&reply).split_once("=-;").expect("not written").0;
    assert_eq!(out(&reply), format!("{len}=-;{len}=-"));
}
