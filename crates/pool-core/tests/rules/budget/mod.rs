//! A budget over several pools: alone, between fake pools, and between real ones.

mod division;
mod fake_pools;
mod model;
mod rules;
mod together;
