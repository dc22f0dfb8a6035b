//! An instance: its guest, the slot in which it is driven, and the replies that are due from it.

pub(crate) mod fault;
pub(crate) mod guest;
pub(crate) mod reply;
pub(crate) mod slot;
pub(crate) mod wake_state;
