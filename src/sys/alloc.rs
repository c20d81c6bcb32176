//! A global allocator that counts, so that "allocates nothing per tick" is a number and not a hope.
//!
//! It is the system's allocator with one thread-local addition in front (about a nanosecond), so the shipped binary
//! carries it too and `lookout bench` measures the program that runs on the box.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Allocations (and re-allocations) of this thread so far. 0 for ever where [`Counting`] is not the global allocator.
pub fn count() -> u64 {
    COUNT.try_with(Cell::get).unwrap_or(0)
}

/// The largest single request of this thread since it was last asked, in bytes: what a file can make a parser ask for.
pub fn take_largest() -> usize {
    LARGEST.try_with(Cell::take).unwrap_or(0)
}

/// See the module's documentation. Use as `#[global_allocator] static A: Counting = Counting;`.
#[derive(Debug)]
pub struct Counting;

fn bump(bytes: usize) {
    // A thread that is going away has no counter any more; its last allocations are nobody's tick.
    let _ = COUNT.try_with(|c| c.set(c.get() + 1));
    let _ = LARGEST.try_with(|l| l.set(l.get().max(bytes)));
}

// SAFETY: every call is passed on to `System` unchanged; counting touches no allocator state.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        bump(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        bump(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        bump(size);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
