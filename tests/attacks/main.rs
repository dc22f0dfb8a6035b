//! Hostile guests, hostile clients and a failing host, each with innocents beside it.
//!
//! docs/SECURITY.md names the test for each promise.

mod host;
mod http1_conformance;
mod ingress;
mod middleware_buffers;
mod output;
mod smuggling;
mod support;
mod upstream_responses;
mod wire;
mod descriptors;
mod network;
mod clients;
mod h2;
mod h2_conformance;
