//! Opening a file or directory for a guest.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cap_fs_ext::OpenOptionsFollowExt as _;
use cap_primitives::fs::{FollowSymlinks, OpenOptions};
use rustix::fs::OFlags;
use rustix::io::Errno;
use wasmtime_wasi::OpenMode;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File};

use super::Reservation;

/// What a guest asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    pub(super) follow: bool,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) directory: bool,
    pub(super) read: bool,
    pub(super) write: bool,
    /// Any of the kinds of it.
    pub(super) sync: bool,
}

/// Opens it below `dir`, by the rules of wasmtime's own `open-at`: the operating system keeps it in there.
///
/// What is neither a file nor a directory is not opened: reading a pipe, a socket or a terminal would hold a thread for
/// as long as the other end likes.
pub(super) async fn open(
    dir: Dir,
    path: String,
    request: Request,
    reservation: Reservation,
) -> io::Result<Descriptor> {
    if request.sync {
        return Err(Errno::NOTSUP.into());
    }
    if request.directory && (request.create || request.exclusive || request.truncate) {
        return Err(Errno::INVAL.into());
    }
    let write = request.write || request.create || request.truncate;
    if write && dir.perms.write_not_permitted() {
        return Err(Errno::PERM.into());
    }
    let read = request.read || !request.write;
    let mut mode = OpenMode::empty();
    mode.set(OpenMode::READ, read);
    mode.set(OpenMode::WRITE, write);
    let options = options(request, read, write);

    let opened = tokio::task::spawn_blocking(move || {
        let file = cap_primitives::fs::open(&dir.dir, &PathBuf::from(path), &options)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            let opened = Dir::new(file, dir.perms, mode, false);
            reservation.give_to(&opened.dir);
            return Ok(Descriptor::Dir(opened));
        }
        if request.directory {
            return Err(Errno::NOTDIR.into());
        }
        if !kind.is_file() {
            return Err(Errno::PERM.into());
        }
        let opened = File::new(file, dir.perms, mode, false);
        reservation.give_to(&opened.file);
        Ok(Descriptor::File(opened))
    });
    opened.await.map_err(io::Error::other)?
}

fn options(request: Request, read: bool, write: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(read).write(write).truncate(request.truncate);
    match (request.create, request.exclusive) {
        (true, true) => options.create_new(true),
        (create, _) => options.create(create),
    };
    let follow = if request.follow { FollowSymlinks::Yes } else { FollowSymlinks::No };
    options.follow(follow);
    #[cfg(unix)]
    {
        use cap_primitives::fs::OpenOptionsExt as _;
        // Not to wait for the other end of a pipe. It means nothing for files.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(i32::try_from(flags.bits()).expect("they are small"));
    }
    options
}

/// The error of a guest that has as many files open as it may, or as all may.
pub(super) fn too_many() -> io::Error {
    Errno::NOMEM.into()
}

/// A directory's handle, if it is a directory.
pub(super) fn dir(descriptor: &Descriptor) -> io::Result<Dir> {
    match descriptor {
        Descriptor::Dir(dir) => Ok(dir.clone()),
        Descriptor::File(_) => Err(Errno::NOTDIR.into()),
    }
}

/// The same handle, to list it.
pub(super) fn handle(dir: &Dir) -> Arc<std::fs::File> {
    Arc::clone(&dir.dir)
}
