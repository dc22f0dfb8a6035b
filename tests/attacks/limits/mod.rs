//! What guests may hold, one by one and all together.

mod account;
mod components;
mod descriptors;
mod memory;
mod middleware_buffers;
