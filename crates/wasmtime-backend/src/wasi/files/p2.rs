//! `open-at` and `read-directory` of wasi:filesystem 0.2.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DirectoryEntryStream, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};

use super::listing::{DIRECTORY, measure};
use super::open::{Request, dir, handle, open, too_many};
use crate::wasi::StoreData;

type Params = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

/// Puts them in the place of wasmtime's.
pub(in crate::wasi) fn link(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store, (fd, path_flags, path, open_flags, flags): Params| {
            Box::new(async move {
                let data = store.data_mut();
                let dir = dir(data.ctx().table.get(&fd)?);
                let request = request(path_flags, open_flags, flags);
                let opened = match (dir, data.files().reserve()) {
                    (Ok(dir), Some(reservation)) => open(dir, path, request, reservation).await,
                    (Err(error), _) => Err(error),
                    (_, None) => Err(too_many()),
                };
                let opened: Result<Resource<Descriptor>, ErrorCode> = match opened {
                    Ok(descriptor) => Ok(store.data_mut().ctx().table.push(descriptor)?),
                    Err(error) => Err(error.into()),
                };
                Ok((opened,))
            })
        },
    )?;
    // wasmtime's own lists all of the directory at once, so that a guest makes the host hold as much as it likes.
    types.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut store, (fd,): (Resource<Descriptor>,)| {
            Box::new(async move {
                let data = store.data_mut();
                let dir = dir(data.ctx().table.get(&fd)?);
                // Of the descriptor that lists it.
                let reservation = data.files().reserve();
                let fits = match (dir, &reservation) {
                    (Ok(dir), Some(_)) => measure(handle(&dir)).await,
                    (Err(error), _) => Err(error),
                    (_, None) => Err(too_many()),
                };
                let listed: Result<Resource<DirectoryEntryStream>, ErrorCode> = match fits {
                    Ok(()) => {
                        let data = store.data_mut();
                        // All of it at once, before it is in the table: more than other calls add.
                        let _listed = data.under_way(DIRECTORY);
                        let mut filesystem = data.filesystem();
                        match HostDescriptor::read_directory(&mut filesystem, fd).await {
                            Ok(entries) => Ok(entries),
                            Err(error) => Err(error.downcast()?),
                        }
                    }
                    Err(error) => Err(error.into()),
                };
                Ok((listed,))
            })
        },
    )
}

fn request(path: PathFlags, open: OpenFlags, flags: DescriptorFlags) -> Request {
    let sync = DescriptorFlags::FILE_INTEGRITY_SYNC
        | DescriptorFlags::DATA_INTEGRITY_SYNC
        | DescriptorFlags::REQUESTED_WRITE_SYNC;
    Request {
        follow: path.contains(PathFlags::SYMLINK_FOLLOW),
        create: open.contains(OpenFlags::CREATE),
        exclusive: open.contains(OpenFlags::EXCLUSIVE),
        truncate: open.contains(OpenFlags::TRUNCATE),
        directory: open.contains(OpenFlags::DIRECTORY),
        read: flags.contains(DescriptorFlags::READ),
        write: flags.contains(DescriptorFlags::WRITE),
        sync: flags.intersects(sync),
    }
}
