//! http-wasm guests as middleware, over real sockets.
//!
//! Most tests tell one guest what to do in the headers of a request, see `guests/http-wasm`; what they
//! need of others is written in the text format, see [`setup`].

mod setup;

mod answers;
mod bodies;
mod config;
mod features;
mod memory;
mod requests;
mod trailers;
