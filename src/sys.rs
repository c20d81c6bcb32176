//! The only home of unsafe code besides the int8 kernels: what the standard library and the crates do not offer.
//!
//! What is here is thin: one function per system call, typed arguments, owned descriptors and maps, no policy.

pub mod alloc;
pub mod video;
