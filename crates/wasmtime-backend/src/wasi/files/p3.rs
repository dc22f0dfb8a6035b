//! `open-at` and `read-directory` of wasi:filesystem 0.3.

use tokio::sync::oneshot;
use wasmtime::component::{Accessor, FutureReader, Linker, Resource, StreamReader};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, OpenFlags, PathFlags,
};

use super::listing::Listing;
use super::open::{Request, dir, handle, open, too_many};
use crate::wasi::StoreData;

type OpenParams = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

/// Puts them in the place of wasmtime's.
pub(in crate::wasi) fn link(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    types.func_wrap_concurrent(
        "[method]descriptor.open-at",
        |store: &Accessor<StoreData>, (fd, path_flags, path, open_flags, flags): OpenParams| {
            Box::pin(async move {
                let (dir, reservation) = store.with(|mut store| {
                    let data = store.data_mut();
                    let dir = dir(data.ctx().table.get(&fd)?);
                    Ok::<_, wasmtime::Error>((dir, data.files().reserve()))
                })?;
                let request = request(path_flags, open_flags, flags);
                let opened = match (dir, reservation) {
                    (Ok(dir), Some(reservation)) => open(dir, path, request, reservation).await,
                    (Err(error), _) => Err(error),
                    (_, None) => Err(too_many()),
                };
                let opened: Result<Resource<Descriptor>, ErrorCode> = match opened {
                    Ok(descriptor) => {
                        Ok(store.with(|mut store| store.data_mut().ctx().table.push(descriptor))?)
                    }
                    Err(error) => Err(error.into()),
                };
                Ok((opened,))
            })
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-directory",
        |mut store, (fd,): (Resource<Descriptor>,)| {
            let data = store.data_mut();
            let dir = dir(data.ctx().table.get(&fd)?);
            let (done, result) = oneshot::channel::<Result<(), ErrorCode>>();
            let entries = match (dir, data.files().reserve()) {
                (Ok(dir), Some(reservation)) => {
                    let listing = Listing::new(handle(&dir), reservation, done);
                    StreamReader::new(&mut store, listing)?
                }
                (Err(error), _) => {
                    let _ = done.send(Err(error.into()));
                    StreamReader::new(&mut store, std::iter::empty())?
                }
                (_, None) => {
                    let _ = done.send(Err(too_many().into()));
                    StreamReader::new(&mut store, std::iter::empty())?
                }
            };
            Ok(((entries, FutureReader::new(&mut store, result)?),))
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
