//! http-wasm guests as middleware, over real sockets.
//!
//! Most tests tell one guest what to do in the headers of a request, see `guests/http-wasm`; what they
//! need of others is written in the text format, see [`setup`].

mod setup;

mod clients;
mod config;
mod instances;
mod log;
mod messages;
mod service;
mod stack;
mod wasi;
