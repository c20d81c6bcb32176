//! Structures and constants of `<linux/videodev2.h>`, generated once by `renew.sh` instead of by libclang at every build.
//!
//! Only what the crate `v4l` 0.14 and lookout name is here. The layouts were made on x86_64 and hold for every 64-bit
//! Linux (the header uses fixed-size types, `long` and pointers only); `cargo test` here compares them with numbers
//! taken from the C compiler. On 32 bits `time_t`, `v4l2_buffer` and `v4l2_ext_control` differ.
#![allow(clippy::all, missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, rustdoc::all)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("v4l2-sys-mit: these bindings are for 64-bit targets; for a 32-bit one run renew.sh with that target's headers");

include!("bindings.rs");
