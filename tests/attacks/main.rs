//! Hostile guests, hostile clients and a failing host, each with innocents beside it.
//!
//! docs/SECURITY.md names the test for each promise.

mod account;
mod clients;
mod components;
mod descriptors;
mod exceptions;
mod guests;
mod h2;
mod h2_conformance;
mod host;
mod http1_conformance;
mod ingress;
mod memory;
mod middleware_buffers;
mod network;
mod output;
mod smuggling;
mod support;
mod upstream_responses;
mod wire;
