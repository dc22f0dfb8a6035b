//! http-wasm guests as middleware, over real sockets.
//!
//! Most tests tell one guest what to do in the headers of a request, see `guests/http-wasm`; what they
//! need of others is written in the text format, see [`setup`].

mod setup;

mod answers;
mod bodies;
mod clients;
mod config;
mod drain;
mod features;
mod limits;
mod log;
mod memory;
mod pinning;
mod reload;
mod requests;
mod service;
mod stack;
mod starts;
mod streams;
mod timeouts;
mod trailers;
mod traps;
mod wasi;
