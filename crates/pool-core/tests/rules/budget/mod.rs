//! A budget over several pools: alone, between pools of paper, and between real ones.

mod book;
mod division;
mod paper;
mod rules;
mod together;
