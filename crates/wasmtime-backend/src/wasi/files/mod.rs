//! Files and directories that guests open: how many, and none that would hold a thread.
//!
//! wasmtime's own functions open as many as a guest likes, and wait for the other end of a named pipe on a thread that all
//! guests share. These stand in their place.

mod listing;
mod open;
mod p2;
mod p3;

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(super) use listing::DIRECTORY;
pub(super) use p2::link as link_p2;
pub(super) use p3::link as link_p3;

use super::guest_io::GuestIo;

/// One instance's files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    io: GuestIo,
    max: usize,
    /// Those of this instance, made when it opens the first one.
    open: Option<OpenFiles>,
}

impl Files {
    /// At most so many at a time.
    pub(super) fn new(io: GuestIo, max: usize) -> Self {
        Self { io, max, open: None }
    }

    /// Takes places for one more file. `None`: there is none left.
    fn reserve(&mut self) -> Option<Reservation> {
        let of_instance = self.open.get_or_insert_with(|| OpenFiles::new(self.max)).reserve()?;
        let of_all = self.io.files().reserve()?;
        Some(Reservation { of_instance, of_all })
    }
}

impl Default for Files {
    /// In sum with all others that are made so.
    fn default() -> Self {
        static IO: std::sync::LazyLock<GuestIo> = std::sync::LazyLock::new(GuestIo::default);
        Self::new(IO.clone(), super::guest_io::FILES_OF_INSTANCE)
    }
}

/// Counts open files by what still refers to them: a guest may close its descriptor and keep a stream. Clones are the
/// same.
#[derive(Clone, Debug)]
pub(super) struct OpenFiles(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Not open yet, or held by what has no `Arc` to look at.
    reserved: usize,
    /// Open, or closed since the last look.
    open: Vec<Weak<File>>,
}

impl State {
    fn count(&mut self) -> usize {
        self.open.retain(|file| file.strong_count() > 0);
        self.reserved + self.open.len()
    }
}

impl OpenFiles {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Counted { max, state: Mutex::default() }))
    }

    pub(super) fn max(&self) -> usize {
        self.0.max
    }

    pub(super) fn count(&self) -> usize {
        self.lock().count()
    }

    fn reserve(&self) -> Option<Place> {
        let mut state = self.lock();
        // Only if it matters, as it looks at each of them.
        if state.reserved + state.open.len() >= self.0.max && state.count() >= self.0.max {
            return None;
        }
        state.reserved += 1;
        drop(state);
        Some(Place(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for a file, given back when dropped.
#[derive(Debug)]
struct Place(OpenFiles);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().reserved -= 1;
    }
}

/// Places for one file, of the instance and of all.
#[derive(Debug)]
struct Reservation {
    of_instance: Place,
    of_all: Place,
}

impl Reservation {
    /// Makes it the file's: it ends when nothing refers to that any more.
    fn give_to(self, file: &Arc<File>) {
        for place in [&self.of_instance, &self.of_all] {
            place.0.lock().open.push(Arc::downgrade(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_while_its_file_is_used() {
        let io = GuestIo::new(0, 3);
        let file = || Arc::new(File::open(env!("CARGO_MANIFEST_DIR")).unwrap());
        let mut one = Files::new(io.clone(), 2);
        let mut other = Files::new(io.clone(), 2);

        let (first, second) = (file(), file());
        one.reserve().unwrap().give_to(&first);
        one.reserve().unwrap().give_to(&second);
        assert!(one.reserve().is_none(), "as many as one may have");
        let place = other.reserve().unwrap();
        assert!(other.reserve().is_none(), "as many as there may be");
        assert_eq!(io.usage().files, 3);

        let stream = Arc::clone(&first);
        drop((first, second));
        assert_eq!(io.usage().files, 2, "a stream is left");
        one.reserve().unwrap();
        drop((stream, place));
        assert_eq!(io.usage().files, 0);
    }
}
