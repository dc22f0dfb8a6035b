//! An instance and what its pool does with it: its guest, its slot, and who has it for now.

pub(crate) mod driver;
pub(crate) mod guest;
pub(crate) mod lease;
pub(crate) mod reply;
pub(crate) mod slot;
