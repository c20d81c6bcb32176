//! A second thread for the halves of large layers.
//!
//! One layer at a time is offered to it. If it has not come by the time the first half is done, because its core is busy with other
//! things, whoever offered the half does that too: two threads are never much slower than one. The second thread looks for work
//! for a moment, because the next layer is microseconds away, and then sleeps until it is called.
//!
//! The halves share an arena, and neither writes what the other writes or needs. But a kernel loads up to SLACK bytes behind its tensors, which meet
//! weights of 0 or are dropped, and the other half may be writing those. For the language that is a data race, which it does not define; what we rest
//! on is that the processors that we build for have none in a load: it brings old bytes or new ones, and no result depends on which.

#![allow(unsafe_code)] // a pointer to the work crosses from one thread to the other

use super::kernels::Prepared;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the second thread looks for work before it sleeps: longer than a small layer, shorter than a tick by far.
const AWAKE: Duration = Duration::from_micros(200);
/// Looks between two looks at the clock, or before the processor is given to somebody else.
const LOOKS: u32 = 200;

const NOTHING: u8 = 0;
const OFFERED: u8 = 1;
const TAKEN: u8 = 2;
const DONE: u8 = 3;

#[derive(Debug, Default)]
struct Desk {
    state: AtomicU8,
    layer: AtomicPtr<Prepared>,
    arena: AtomicPtr<u8>,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// See the module's documentation. Ends its thread when dropped.
#[derive(Debug)]
pub struct Pair {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Pair {
    /// Starts the second thread.
    ///
    /// # Errors
    /// What the system says when there can be none.
    pub fn new() -> std::io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let theirs = desk.clone();
        let thread = std::thread::Builder::new().name("inference-2".into()).spawn(move || work(&theirs))?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Computes both.
    ///
    /// # Safety
    /// As [`Prepared::run`] for each, one call at a time; and neither writes a byte that the other writes, or reads for a result. What they read beyond
    /// that is not promised to anybody: see the module's documentation.
    pub unsafe fn run(&self, halves: &[Prepared; 2], arena: *mut u8) {
        let desk = &*self.desk;
        desk.layer.store((&raw const halves[1]).cast_mut(), Ordering::Relaxed);
        desk.arena.store(arena, Ordering::Relaxed);
        // Sequentially consistent, like the look at `state` before sleep: one of the two threads sees what the other did.
        desk.state.store(OFFERED, Ordering::SeqCst);
        if desk.asleep.load(Ordering::SeqCst) {
            self.thread.iter().for_each(|t| t.thread().unpark());
        }
        // SAFETY: the caller's promise.
        unsafe { halves[0].run(arena) };
        if desk.state.compare_exchange(OFFERED, NOTHING, Ordering::Acquire, Ordering::Acquire).is_ok() {
            // SAFETY: the caller's promise; nobody has taken it and nobody can any more.
            unsafe { halves[1].run(arena) };
            return;
        }
        let mut looks = 0u32;
        while desk.state.load(Ordering::Acquire) != DONE {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        desk.state.store(NOTHING, Ordering::Relaxed);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn work(desk: &Desk) {
    let mut since = Instant::now();
    let mut looks = 0u32;
    while !desk.stop.load(Ordering::SeqCst) {
        if desk.state.compare_exchange(OFFERED, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            let (layer, arena) = (desk.layer.load(Ordering::Relaxed), desk.arena.load(Ordering::Relaxed));
            // SAFETY: `Pair::run` stored both before it offered them, and does not return before we say that it is done; its
            // caller promises that this half may run beside the other.
            unsafe { (*layer).run(arena) };
            desk.state.store(DONE, Ordering::Release);
            (since, looks) = (Instant::now(), 0);
            continue;
        }
        looks += 1;
        if !looks.is_multiple_of(LOOKS) || since.elapsed() < AWAKE {
            std::hint::spin_loop();
            continue;
        }
        desk.asleep.store(true, Ordering::SeqCst);
        if desk.state.load(Ordering::SeqCst) != OFFERED && !desk.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        desk.asleep.store(false, Ordering::SeqCst);
        (since, looks) = (Instant::now(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qnn::kernels::{Conv, Isa, Layer, Requant, SLACK, Window};

    /// 1x1 over 40 x 40 pixels, 32 to 48 channels.
    fn conv() -> Conv {
        let (side, depth, outputs) = (40, 32, 48);
        let output = side * side * depth;
        let (row_in, row_out) = (side * depth, side * outputs);
        let window = Window { height: side, width: side, input: 0, row_in, pixel_in: depth, output, row_out, pixel_out: outputs };
        let requant = Requant { scale: vec![1e-3; outputs], zero: 128, low: 0, high: 255 };
        let weights = (0..outputs * depth).map(|n| (n * 37 % 255) as u8 as i8).collect();
        Conv { window, taps: vec![0], depth, outputs, weights, lift: vec![], bias: vec![0; outputs], requant, residual: None }
    }

    #[test]
    fn two_threads_compute_what_one_does_asleep_awake_and_in_turn() {
        let whole = Layer::Conv(conv());
        let size = whole.extent().unwrap() + SLACK;
        let before: Vec<u8> = (0..size).map(|n| (n * 7919 % 251) as u8).collect();
        for &isa in Isa::available() {
            let mut expected = before.clone();
            // SAFETY: as long as `extent` and SLACK say.
            unsafe { whole.clone().prepare(isa).run(expected.as_mut_ptr()) };
            let halves = whole.clone().halves().unwrap().map(|half| half.prepare(isa));
            let pair = Pair::new().unwrap();
            for round in 0..200 {
                if round % 50 == 49 {
                    std::thread::sleep(10 * AWAKE);
                }
                let mut arena = before.clone();
                // SAFETY: as above; halves of one layer.
                unsafe { pair.run(&halves, arena.as_mut_ptr()) };
                assert!(arena == expected, "{isa}, round {round}");
            }
        }
    }
}
