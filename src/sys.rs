//! What the standard library and the crates do not offer: system calls and counted allocations.
//!
//! One of the homes of unsafe code. The others: the int8 kernels and what runs them (`qnn/kernels`, `qnn/op.rs`, `qnn/pair.rs`, `qnn/arena.rs`), the
//! head's products (`head/dot.rs`), and plain code that is compiled for wider registers (`lanes.rs`).
//!
//! What is here is thin: one function per system call, typed arguments, owned descriptors and maps, no policy.

pub mod alloc;
pub(crate) mod stderr;
pub mod video;
