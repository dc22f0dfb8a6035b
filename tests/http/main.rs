//! What HTTP promises, kept over real sockets: for wasi:http 0.2 and 0.3, HTTP/1.1 and h2c.

mod bodies;
mod command;
mod errors;
mod hello;
mod lifetime;
mod limits;
mod middleware;
mod outbound;
mod output;
mod requests;
mod reuse;
mod support;
mod upstream;
mod world;
