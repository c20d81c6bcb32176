//! A lookout watches and calls out what it sees.
//!
//! Modules are listed in the order in which data flows.
#![deny(unsafe_code)]

pub mod baked;
pub mod board;
pub mod bundle;
pub mod capture;
pub mod cli;
pub mod config;
pub mod decision;
pub mod encoder;
pub mod golden;
pub mod head;
pub mod health;
pub mod onnx;
pub mod pipeline;
pub mod report;
pub mod ring;
pub mod shaper;
pub mod source;
pub mod sys;
pub mod vitals;
