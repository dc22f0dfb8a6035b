//! The examples are the programs in this folder; see the README.
