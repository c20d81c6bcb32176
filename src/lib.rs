//! A lookout watches and calls out what it sees.
//!
//! Modules are listed in the order in which data flows.
#![deny(unsafe_code)]

pub mod source;
pub mod capture;
pub mod shaper;
pub mod bundle;
pub mod onnx;
pub mod encoder;
pub mod ring;
pub mod head;
pub mod decision;
pub mod pipeline;
pub mod golden;
pub mod health;
pub mod report;
pub mod cli;
pub mod sys;
