//! An instance: its guest, the slot in which it is driven, and the replies and bodies that are due from it.

pub(crate) mod body_cell;
pub(crate) mod fault;
pub(crate) mod guest;
pub(crate) mod reply;
pub(crate) mod slot;
