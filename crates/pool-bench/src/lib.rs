//! What does one request cost in pool-core, from the permit to the instance's being free again?
//!
//! [`Bare`] asks the state machine alone, [`Handled`] the asynchronous layer around it. Both have a
//! driver that does nothing but report what a real one reports, so what is measured is the pool's.
//! A [`Case`] says which instances serve, and how many others live beside. In an [`Unserved`] pool
//! no request is served: its instances are starting, or it drains.
//!
//! Two programs use them. `crates/pool-bench/count` counts instructions under valgrind: the same on
//! every run, so CI compares them with `instructions.txt` and fails if a case became dearer by more
//! than 3 %, or if it costs more than 1.5 times as much beside 9999 instances as alone.
//! `cargo bench -p millpond-pool-bench` measures time, with threads that contend for the pool's lock;
//! that depends on the machine, and nothing is compared with it.

mod bare;
mod case;
mod clock;
mod handled;
mod unserved;

pub use bare::Bare;
pub use case::{Beside, CONCURRENCY, Case, Shape};
pub use clock::{Clock, Never};
pub use handled::{Caller, Handled, Host, Seat};
pub use unserved::Unserved;
