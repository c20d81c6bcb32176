//! A lookout watches and calls out what it sees: camera frames to classes and events, on a wire.
//!
//! ```text
//! source ─ Frame ─ shaper ─ tensor ─ encoder ─ features ─ RING ─ window ─ head ─ logits ─ decision ─ Report ─ sinks
//! (v4l2,           (crop,           (CNN, int8,           (one slot      (LSTM/GRU/RNN)  (onset,              (serial, gpio,
//!  pipe, file)      resize,          tract)                per tick)                      hysteresis)          stdout, file)
//!                   quantise)
//! ```
//! Data walks in one direction and each stage has one room; the modules below stand in the order in which it flows.
//!
//! - Hardware stands at the two ends. The middle is pure: no clock, no I/O. Time enters once, with the frame.
//! - Few threads: [`capture`], inference (the caller's, and a second for the encoder of a large network), one writer a sink; and beside them, in nobody's
//!   way, one a device of [`extra`]s, and one each for [`button`]s, the [`blackbox`], what novelty counts and what is being taught. All hand-overs are
//!   bounded: the newest frame wins and every lost one is counted; events and changes of state are kept, other status is latest-wins, lost events are
//!   announced by number.
//! - A ring slot is a tick of time, not a frame that happened to arrive ([`ring`], [`pipeline`]).
//! - Int8 parts of an encoder are one operator of our own ([`qnn`]); what it does not know stays with tract in float.
//! - Beside the head, and by the same features: what was never here before ([`novelty`]), classes taught on the box ([`taught`], with a finger too: [`button`]), where it moves ([`place`]).
//! - A model is data ([`bundle`]), a board is data ([`board`]), an installation is data ([`config`]).
//! - Once running, our own code allocates nothing per tick; `lookout bench` counts it ([`sys::alloc`]).
#![deny(unsafe_code)]

// The two ends and the middle, in the order of the flow.
pub mod source;
pub mod capture;
pub mod view;
pub mod shaper;
pub mod gate;
pub mod place;
pub mod encoder;
pub mod extra;
pub mod ring;
pub mod head;
pub mod taught;
pub mod decision;
pub mod novelty;
pub mod pipeline;
pub mod ticks;
pub mod blackbox;
pub mod health;
pub mod report;
pub mod button;

// What they are told: the model, the board, this installation.
pub mod bundle;
pub mod onnx;
pub mod qnn;
pub mod golden;
pub mod board;
pub mod config;
pub mod baked;
pub mod vitals;
pub mod store;
pub mod life;

// How a person calls them, and the ground they stand on.
pub mod cli;
#[cfg(feature = "train")]
pub mod train;
mod complaint;
pub mod gpio;
mod lanes;
mod past;
mod recordings;
pub mod rng;
mod table;
pub mod sys;
