//! What a guest does wrong, and what of it another request notices.

mod bodies;
mod exit;
mod memory;
mod records;
mod timeouts;
mod trap;
