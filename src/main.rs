//! `lookout`: arguments in, exit code out. What it does is in [`lookout::cli`].

/// Counts allocations, so that `lookout bench` can say what a tick of the shipped program allocates.
#[global_allocator]
static ALLOCATOR: lookout::sys::alloc::Counting = lookout::sys::alloc::Counting;

fn main() -> std::process::ExitCode {
    lookout::cli::main()
}
