//! Told to stop, by Ctrl-C, a service manager or a terminal that closed: a flag becomes true, and whoever works looks at it and ends in order.
//!
//! A hangup that is ignored when we start stays so: whoever starts us with `nohup` wants us to outlive the terminal.

use super::Failure;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that a signal sets.
pub fn flag() -> Result<Arc<AtomicBool>, Failure> {
    with_each(&[SIGINT, SIGTERM, SIGHUP], signal_hook::flag::register)
}

/// As [`flag`], and a terminal that closes ends the process as it would by itself: for work that goes on where it was when it is asked for again.
pub fn flag_of_the_resumable() -> Result<Arc<AtomicBool>, Failure> {
    with_each(&[SIGINT, SIGTERM], signal_hook::flag::register)
}

/// A flag that we set where nobody looks at the other one: while it is true, a signal ends the process at once.
pub fn at_once() -> Result<Arc<AtomicBool>, Failure> {
    with_each(&[SIGINT, SIGTERM, SIGHUP], signal_hook::flag::register_conditional_default)
}

fn with_each(signals: &[i32], register: impl Fn(i32, Arc<AtomicBool>) -> io::Result<SigId>) -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    // Where it cannot be read, nobody is known to have asked for that.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for &signal in signals {
        if signal == SIGHUP && is_ignored(&status, signal) {
            continue;
        }
        register(signal, flag.clone()).map_err(|e| Failure::broke(format!("signal {signal}: {e}")))?;
    }
    Ok(flag)
}

/// Is a signal ignored, by what the kernel says of a process? `SigIgn` of proc_pid_status(5): signal 1 is bit 0.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (mask >> (signal - 1)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stands_in_the_kernels_mask() {
        for (status, ignored) in [
            ("Name:\tlookout\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n", false),
            ("SigIgn:\t0000000000001001\n", true),
            ("SigIgn:\t\n", false),
            ("", false),
        ] {
            assert_eq!(is_ignored(status, SIGHUP), ignored, "{status:?}");
        }
        assert!(is_ignored("SigIgn:\t0000000000004000\n", SIGTERM));
    }
}
