//! What several attacks need.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A file with this content, whole whenever another test looks at it.
pub(crate) fn file(name: &str, content: &str) -> String {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let new = path.with_extension(format!("{}.new", FILES.fetch_add(1, Relaxed)));
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, &path).unwrap();
    path.to_str().unwrap().to_owned()
}
