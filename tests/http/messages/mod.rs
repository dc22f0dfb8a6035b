//! What a component is asked, and what it answers.

mod bodies;
mod errors;
mod hello;
mod outbound;
mod requests;
