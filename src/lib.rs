//! A lookout watches and calls out what it sees.
//!
//! Modules are listed in the order in which data flows.
#![deny(unsafe_code)]

pub mod bundle;
pub mod cli;
pub mod report;
pub mod shaper;
pub mod source;
