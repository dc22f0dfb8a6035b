//! The guest's memory: where it passes values, and gets them.

use wasmtime::{Caller, Extern, Result, format_err};

use crate::host::state::GuestState;

/// The name of a guest's memory.
pub(crate) const MEMORY: &str = "memory";

/// Bytes of a guest's that an error quotes.
const QUOTED: usize = 100;

/// The memory of the calling guest, and what belongs to it.
pub(super) fn split<'a>(
    caller: &'a mut Caller<'_, GuestState>,
) -> Result<(&'a mut [u8], &'a mut GuestState)> {
    let memory = match caller.data().memory() {
        Some(memory) => memory,
        // It is being instantiated.
        None => match caller.get_export(MEMORY) {
            Some(Extern::Memory(memory)) => memory,
            _ => return Err(format_err!("the guest exports no memory")),
        },
    };
    Ok(memory.data_and_store_mut(caller))
}

/// What the guest passes.
pub(super) fn read<'a>(memory: &'a [u8], what: &str, at: u32, len: u32) -> Result<&'a [u8]> {
    // An empty range may lie anywhere, also outside the memory.
    if len == 0 {
        return Ok(&[]);
    }
    let bytes = range(at, len).and_then(|range| memory.get(range));
    bytes.ok_or_else(|| outside(what, at, len))
}

/// What the guest passes, if it is no longer than this: it is about to be parsed, and copied.
pub(super) fn read_short<'a>(
    memory: &'a [u8],
    what: &str,
    at: u32,
    len: u32,
    most: u32,
) -> Result<&'a [u8]> {
    if len > most {
        return Err(format_err!("{what}: {len} bytes are more than the {most} that are taken"));
    }
    read(memory, what, at, len)
}

/// What the guest passed, or the beginning of it, for an error.
pub(super) fn quote(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED)]);
    match bytes.len() {
        ..=QUOTED => format!("{text:?}"),
        len => format!("{text:?}... ({len} bytes)"),
    }
}

/// Where the guest wants something written.
pub(super) fn slice<'a>(
    memory: &'a mut [u8],
    what: &str,
    at: u32,
    len: u32,
) -> Result<&'a mut [u8]> {
    let bytes = range(at, len).and_then(|range| memory.get_mut(range));
    bytes.ok_or_else(|| outside(what, at, len))
}

/// Writes a value, if the guest has room for it. Its length is the answer in either case.
pub(super) fn write(
    memory: &mut [u8],
    what: &str,
    at: u32,
    limit: u32,
    value: &[u8],
) -> Result<u32> {
    let len = length(what, value.len())?;
    if len > 0 && len <= limit {
        slice(memory, what, at, len)?.copy_from_slice(value);
    }
    Ok(len)
}

/// Writes values, each with a NUL after it, if the guest has room for all of them. The answer is their
/// number, in the upper half, and their length with the NULs.
pub(super) fn write_all<V: AsRef<[u8]>>(
    memory: &mut [u8],
    what: &str,
    at: u32,
    limit: u32,
    values: &[V],
) -> Result<u64> {
    let len = values.iter().map(|value| value.as_ref().len() + 1).sum();
    let (count, len) = (length(what, values.len())?, length(what, len)?);
    if len > 0 && len <= limit {
        let mut rest = slice(memory, what, at, len)?;
        for value in values {
            let (to, nul_and_rest) = rest.split_at_mut(value.as_ref().len());
            to.copy_from_slice(value.as_ref());
            nul_and_rest[0] = 0;
            rest = &mut nul_and_rest[1..];
        }
    }
    Ok(u64::from(count) << 32 | u64::from(len))
}

fn range(at: u32, len: u32) -> Option<std::ops::Range<usize>> {
    let at = usize::try_from(at).ok()?;
    Some(at..at.checked_add(usize::try_from(len).ok()?)?)
}

fn length(what: &str, len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| format_err!("{what} is longer than 4 GiB"))
}

fn outside(what: &str, at: u32, len: u32) -> wasmtime::Error {
    format_err!("{what}: {len} bytes at {at} are not in the guest's memory")
}

#[cfg(test)]
mod tests {
    use super::{quote, read, read_short, write, write_all};

    #[test]
    fn a_value_beyond_the_limit_is_not_written() {
        let mut memory = [9; 8];
        assert_eq!(write(&mut memory, "value", 0, 4, b"12345").unwrap(), 5);
        assert_eq!(memory, [9; 8]);
        assert_eq!(write(&mut memory, "value", 2, 5, b"12345").unwrap(), 5);
        assert_eq!(memory, *b"\x09\x0912345\x09");
        assert_eq!(write(&mut memory, "value", 100, 5, b"").unwrap(), 0, "nothing has no place");
        assert!(write(&mut memory, "value", 4, 5, b"12345").is_err());
        assert!(write(&mut memory, "value", u32::MAX, 5, b"12345").is_err());
    }

    #[test]
    fn oversized_input_is_not_read_or_quoted() {
        let memory = [b'a'; 2000];
        assert_eq!(read_short(&memory, "method", 0, 4, 4).unwrap(), b"aaaa");
        let error = read_short(&memory, "method", 0, 5, 4).unwrap_err().to_string();
        assert_eq!(error, "method: 5 bytes are more than the 4 that are taken");
        assert_eq!(quote(&memory[..3]), r#""aaa""#);
        assert_eq!(quote(&memory), format!("{:?}... (2000 bytes)", "a".repeat(100)));
    }

    #[test]
    fn values_end_with_a_nul_each() {
        let mut memory = [9; 8];
        assert_eq!(write_all(&mut memory, "values", 1, 8, &["ab", "", "c"]).unwrap(), 3 << 32 | 6);
        assert_eq!(memory, *b"\x09ab\0\0c\0\x09");
        assert_eq!(write_all::<&str>(&mut memory, "values", 100, 8, &[]).unwrap(), 0);
        assert_eq!(write_all(&mut memory, "values", 0, 2, &["xy"]).unwrap(), 1 << 32 | 3);
        assert_eq!(memory, *b"\x09ab\0\0c\0\x09", "too long, not written");
        assert!(write_all(&mut memory, "values", 6, 8, &["xy"]).is_err());
    }

    #[test]
    fn what_is_not_in_memory_cannot_be_passed() {
        let memory = *b"12345678";
        assert_eq!(read(&memory, "name", 6, 2).unwrap(), b"78");
        assert_eq!(read(&memory, "name", 9, 0).unwrap(), b"");
        let error = read(&memory, "name", 7, 2).unwrap_err().to_string();
        assert_eq!(error, "name: 2 bytes at 7 are not in the guest's memory");
    }
}
