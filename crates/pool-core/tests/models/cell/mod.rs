//! What backends have for instances that several tasks drive.

mod instance_cell;
mod wake_state;
