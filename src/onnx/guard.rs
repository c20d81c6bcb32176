//! What stands between a hostile ONNX file and the process.
//!
//! tract reads files that anybody may have made, and in places it indexes before it looks (an `Unsqueeze` axis beyond the
//! rank, for one). Whatever slips through the checks of [`super`] while a network is loaded or tried is caught here and
//! becomes an ordinary refusal. Where the build aborts on panics (the firmware profile) there is nothing to catch: then
//! the sentence is said and the process ends with 2, wrong bundle, as it would for any other refusal.

use crate::bundle::{Bundle, BundleError};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Is this thread at work on a network that is not trusted yet?
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it becomes a refusal of `bundle` that names the file or the step, `what`.
///
/// # Errors
/// Those of `work`, and its panics.
pub(crate) fn guarded<T>(bundle: &Bundle, what: &str, work: impl FnOnce() -> Result<T, BundleError>) -> Result<T, BundleError> {
    caught(work).unwrap_or_else(|words| Err(bundle.refuse(format!("{what}: {words}"))))
}

/// Runs `work`; a panic in it becomes a sentence.
///
/// # Errors
/// What the panic said.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| match GUARDED.get() {
            false => before(info),
            true if cfg!(panic = "abort") => {
                eprintln!("bundle: tract cannot work with this network: {}", words(info.payload()));
                std::process::exit(2);
            }
            true => {}
        }));
    });
    let outer = GUARDED.replace(true);
    // What a panic leaves half done is dropped with the closure; nothing outlives it.
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| format!("tract cannot work with this network: {}", words(panic.as_ref())))
}

/// The first line of what a panic said.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.and_then(|t| t.lines().next()).unwrap_or("no reason given").chars().take(160).collect()
}
