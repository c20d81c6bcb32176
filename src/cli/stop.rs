//! Told to stop, by Ctrl-C or a service manager: a flag becomes true, and whoever works looks at it and ends in order.

use super::Failure;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that a signal sets.
pub fn flag() -> Result<Arc<AtomicBool>, Failure> {
    with_both(signal_hook::flag::register)
}

/// A flag that we set where nobody looks at the other one: while it is true, a signal ends the process at once.
pub fn at_once() -> Result<Arc<AtomicBool>, Failure> {
    with_both(signal_hook::flag::register_conditional_default)
}

fn with_both(register: impl Fn(i32, Arc<AtomicBool>) -> io::Result<SigId>) -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register(signal, flag.clone()).map_err(|e| Failure::broke(format!("signal {signal}: {e}")))?;
    }
    Ok(flag)
}
