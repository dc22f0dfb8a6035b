//! What passes a guest: requests, responses, their bodies and trailers.

mod answers;
mod bodies;
mod features;
mod requests;
mod streams;
mod trailers;
