//! Instances of a component: how many there are, and how long each lives.

mod lifetime;
mod limits;
mod reuse;
