//! Files that guests are in.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Bytes that a component or a module may have, unless told otherwise: 256 MiB. Compiling takes about a hundred
/// times as much memory as code, for a time.
pub const DEFAULT_MAX_SIZE: usize = 256 << 20;

/// Reads a file that has no more bytes than this.
///
/// # Errors
///
/// If it has more, or cannot be read.
pub fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("expected at most {most} bytes, and it has more")));
    }
    Ok(bytes)
}
