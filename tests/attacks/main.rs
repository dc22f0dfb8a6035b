//! Hostile guests, hostile clients and a failing host, each with innocents beside it.
//!
//! docs/SECURITY.md names the test for each promise.

mod clients;
mod guests;
mod host;
mod limits;
mod network;
mod output;
mod support;
mod upstream_responses;
mod wire;
