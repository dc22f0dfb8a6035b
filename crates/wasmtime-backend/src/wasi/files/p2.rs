//! `open-at` of wasi:filesystem 0.2.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, OpenFlags, PathFlags,
};

use super::open::{Request, dir, open, too_many};
use crate::wasi::StoreData;

type Params = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

/// Puts it in the place of wasmtime's.
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
