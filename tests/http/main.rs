//! What HTTP promises, kept over real sockets: for wasi:http 0.2 and 0.3, HTTP/1.1 and h2c.

mod command;
mod instances;
mod messages;
mod middleware;
mod output;
mod support;
mod upstream;
mod world;
