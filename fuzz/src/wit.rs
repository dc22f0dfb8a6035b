//! Files that are read before they are compiled: components, and http-wasm modules, in the binary or the text format.

use millpond::Interfaces;

/// Of the threads on which a server reads files.
const STACK: usize = 2 << 20;

/// Reads it as each of the two.
///
/// # Panics
///
/// If that does, or takes memory out of all proportion, or says what is wrong in more than one clean line.
pub fn wit(data: &[u8]) {
    let data = data.to_vec();
    let reads = std::thread::Builder::new().stack_size(STACK).spawn(move || read(&data));
    reads.expect("a thread").join().expect("no panic");
}

fn read(data: &[u8]) {
    // What is no text is what it was.
    let Ok(bytes) = wat::parse_bytes(data) else { return };
    match Interfaces::read(&bytes) {
        Ok(interfaces) => {
            let missing = interfaces.missing(|_| true);
            let without = interfaces.missing(|_| false);
            assert!(missing.len() <= without.len() + bytes.len());
            for name in missing.iter().map(String::as_str).chain(interfaces.exports()) {
                assert_clean(name);
            }
            if let Err(error) = interfaces.require_version() {
                assert_clean(&error.to_string());
            }
        }
        Err(error) => assert_clean(&error.to_string()),
    }
    if let Err(error) = millpond::http_wasm::fuzzing::read_module(&bytes) {
        assert_clean(&error);
    }
}

/// Goes to a terminal or a log, on one line.
fn assert_clean(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
