//! What belongs to the process as a whole: its descriptors, signals, log, and lines for its user.

pub(crate) mod descriptors;
pub(crate) mod log;
pub(crate) mod signals;
pub(crate) mod status;
