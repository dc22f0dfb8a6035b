//! What happens when guests, clients or the host fail, over real sockets.
//!
//! Most tests run in each way in which guests are driven, see [`setup`]. Where one must hold a seat
//! for as long as it likes, it does so with a request whose body does not end, see [`setup::Held`].

#[macro_use]
mod setup;

mod clients;
mod guests;
mod hooks;
mod pool;
mod service;
