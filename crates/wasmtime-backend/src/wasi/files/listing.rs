//! The entries of a directory: for 0.3 a stream of them, for 0.2 whether there are too many.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use cap_primitives::fs::{ReadDir, read_base_dir};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult};
use wasmtime_wasi::p3::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use super::Reservation;
use super::open::too_many;

/// Entries that are read at a time, and held until the guest wants them.
const BATCH: usize = 32;

/// Bytes that a directory may have in memory, as a guest of 0.2 gets all of it at once: ten thousand names, or so.
pub(in crate::wasi) const DIRECTORY: usize = 1 << 20;

/// Bytes of an entry besides its name.
const ENTRY: usize = 64;

/// Fails if a directory takes more memory than [`DIRECTORY`].
pub(super) async fn measure(dir: Arc<File>) -> io::Result<()> {
    let measured = tokio::task::spawn_blocking(move || {
        let mut bytes = 0;
        for entry in read_base_dir(&dir)? {
            bytes += ENTRY + entry?.file_name().len();
            if bytes > DIRECTORY {
                return Err(too_many());
            }
        }
        Ok(())
    });
    measured.await.map_err(io::Error::other)?
}

/// Reads a directory in batches. wasmtime's own holds a thread from the first entry to the last, or until the guest
/// drops the stream.
pub(super) struct Listing {
    read: VecDeque<DirectoryEntry>,
    rest: Rest,
    /// Its place among the files of the guest, to the end: also while there is nothing more to read.
    _reservation: Arc<Reservation>,
    done: Option<oneshot::Sender<Result<(), ErrorCode>>>,
}

/// Some entries, and where the next ones come from.
type Batch = (Vec<DirectoryEntry>, Option<Source>);

enum Rest {
    /// Not asked for.
    Waits(Option<Source>),
    Reading(JoinHandle<Result<Batch, ErrorCode>>),
}

/// Where the next batch comes from. It has a descriptor of its own.
enum Source {
    Unopened(Arc<File>, Arc<Reservation>),
    Open(ReadDir, Arc<Reservation>),
}

impl Source {
    /// Reads a batch; it is the last one if no source comes back.
    fn read(self) -> Result<(Vec<DirectoryEntry>, Option<Self>), ErrorCode> {
        let (mut dir, reservation) = match self {
            Self::Unopened(dir, reservation) => (read_base_dir(&dir)?, reservation),
            Self::Open(dir, reservation) => (dir, reservation),
        };
        let entries: Vec<_> = dir.by_ref().take(BATCH).map(entry).collect::<Result<_, _>>()?;
        let more = entries.len() == BATCH;
        Ok((entries, more.then_some(Self::Open(dir, reservation))))
    }
}

fn entry(entry: io::Result<cap_primitives::fs::DirEntry>) -> Result<DirectoryEntry, ErrorCode> {
    let entry = entry?;
    let kind = entry.metadata()?.file_type();
    let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
    let type_ = if kind.is_dir() {
        DescriptorType::Directory
    } else if kind.is_symlink() {
        DescriptorType::SymbolicLink
    } else if kind.is_file() {
        DescriptorType::RegularFile
    } else {
        special(kind)
    };
    Ok(DirectoryEntry { type_, name })
}

#[cfg(unix)]
fn special(kind: cap_primitives::fs::FileType) -> DescriptorType {
    use cap_primitives::fs::FileTypeExt as _;
    if kind.is_fifo() {
        DescriptorType::Fifo
    } else if kind.is_socket() {
        DescriptorType::Socket
    } else if kind.is_char_device() {
        DescriptorType::CharacterDevice
    } else if kind.is_block_device() {
        DescriptorType::BlockDevice
    } else {
        DescriptorType::Other(None)
    }
}

#[cfg(not(unix))]
fn special(_: cap_primitives::fs::FileType) -> DescriptorType {
    DescriptorType::Other(None)
}

impl Listing {
    pub(super) fn new(
        dir: Arc<File>,
        reservation: Reservation,
        done: oneshot::Sender<Result<(), ErrorCode>>,
    ) -> Self {
        let reservation = Arc::new(reservation);
        let rest = Rest::Waits(Some(Source::Unopened(dir, Arc::clone(&reservation))));
        Self { read: VecDeque::new(), rest, _reservation: reservation, done: Some(done) }
    }

    /// The next entry; `None` at the end.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<DirectoryEntry>, ErrorCode>> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return Poll::Ready(Ok(Some(entry)));
            }
            match &mut self.rest {
                Rest::Waits(None) => return Poll::Ready(Ok(None)),
                Rest::Waits(source) => {
                    let source = source.take().expect("there is one");
                    self.rest = Rest::Reading(tokio::task::spawn_blocking(|| source.read()));
                }
                Rest::Reading(task) => {
                    let batch = ready!(Pin::new(task).poll(cx));
                    self.rest = Rest::Waits(None);
                    let (entries, source) = batch.unwrap_or(Err(ErrorCode::Io))?;
                    self.read = entries.into();
                    self.rest = Rest::Waits(source);
                }
            }
        }
    }

    fn end(&mut self, result: Result<(), ErrorCode>) {
        if let Some(done) = self.done.take() {
            let _ = done.send(result);
        }
    }
}

impl<D> StreamProducer<D> for Listing {
    type Item = DirectoryEntry;
    type Buffer = Option<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        Poll::Ready(Ok(match self.poll_next(cx) {
            Poll::Ready(Ok(Some(entry))) => {
                destination.set_buffer(Some(entry));
                StreamResult::Completed
            }
            Poll::Ready(end) => {
                self.end(end.map(|_| ()));
                StreamResult::Dropped
            }
            Poll::Pending if finish => StreamResult::Cancelled,
            Poll::Pending => return Poll::Pending,
        }))
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}
