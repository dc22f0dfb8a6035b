//! Requests: how they wait, what takes them, and how each ends.

mod cancel;
mod errors;
mod late_reports;
mod leases;
mod permits;
mod pins;
mod queue;
mod streams;
mod timeouts;
