//! Files of records: each is new, whole, and its owner's alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where a record is written to.
pub(super) type Out = BufWriter<Capped>;

/// A file that takes only so many bytes.
pub(super) struct Capped {
    file: File,
    left: u64,
    written: u64,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "the limit on all records is reached",
            ));
        };
        let written = self.file.write(bytes)?;
        self.left = left + (bytes.len() - written) as u64;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that was not there before, and that only its owner reads: it may hold whatever the guest
/// had in its memory. If the name is taken, a number is appended.
pub(super) fn create(dir: &Path, stem: &str, extension: &str) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut name = format!("{stem}.{extension}");
    for again in 2_u64.. {
        let path = dir.join(&name);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                name = format!("{stem}-{again}.{extension}");
            }
            opened => return opened.map(|file| (path, file)),
        }
    }
    unreachable!("there are not that many files")
}

/// A new file with what `write` puts into it, which is so many bytes at most, or none. With its length.
pub(super) fn fill(
    dir: &Path,
    stem: &str,
    extension: &str,
    most: u64,
    write: impl FnOnce(&mut Out) -> wasmtime::Result<()>,
) -> wasmtime::Result<(PathBuf, u64)> {
    let (path, file) = create(dir, stem, extension)?;
    let mut out = BufWriter::new(Capped { file, left: most, written: 0 });
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    // What is left in the buffer is not to be tried again.
    let (capped, _) = out.into_parts();
    if written.is_err() {
        // Half of one is of no use.
        let _ = std::fs::remove_file(&path);
    }
    written.map(|()| (path, capped.written))
}

/// Makes a directory, and sees to it that files can be made in it.
pub(super) fn check(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })?;
    let (path, _) = create(dir, &format!("millpond-{}", std::process::id()), "check")?;
    std::fs::remove_file(path)
}
