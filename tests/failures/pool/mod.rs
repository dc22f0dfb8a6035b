//! What a pool does when there is too much of something, or too little.

mod backpressure;
mod budget;
mod drain;
mod exhaustion;
mod expiration;
mod hammer;
mod limits;
mod queue;
mod spares;
mod starts;
mod usage;
