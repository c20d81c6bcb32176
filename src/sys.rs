//! The only home of unsafe code besides the int8 kernels: what the standard library and the crates do not offer.

pub mod alloc;
