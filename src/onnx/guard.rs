//! What stands between a hostile ONNX file and the process.
//!
//! tract reads files that anybody may have made, and in places it indexes before it looks (an `Unsqueeze` axis beyond the
//! rank, for one). Whatever slips through the checks of [`super`] while a network is loaded or tried is caught here and
//! becomes an ordinary refusal. Where the build aborts on panics (the firmware profile) there is nothing to catch: then
//! the sentence is said and the process ends with 2, wrong bundle, as it would for any other refusal.

use crate::bundle::{Bundle, BundleError};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The network that is not trusted yet and that this thread is at work on, in the words of a refusal.
    static GUARDED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic in it becomes a refusal of `bundle` that names the file or the step, `what`.
///
/// # Errors
/// Those of `work`, and its panics.
pub(crate) fn guarded<T>(bundle: &Bundle, what: &str, work: impl FnOnce() -> Result<T, BundleError>) -> Result<T, BundleError> {
    caught(&bundle.refuse(what).to_string(), work).unwrap_or_else(|words| Err(bundle.refuse(format!("{what}: {words}"))))
}

/// Runs `work` on the network `name`; a panic in it becomes a sentence.
///
/// # Errors
/// What the panic said.
pub(crate) fn caught<T>(name: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| match GUARDED.take() {
            None => before(info),
            Some(name) if cfg!(panic = "abort") => {
                eprintln!("lookout: {name}: {}", words(info.payload()));
                std::process::exit(2);
            }
            name => drop(GUARDED.replace(name)),
        }));
    });
    let outer = GUARDED.replace(Some(name.into()));
    // What a panic leaves half done is dropped with the closure; nothing outlives it.
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| words(panic.as_ref()))
}

/// A sentence with the first line of what a panic said.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let first: String = text.and_then(|t| t.lines().next()).unwrap_or("no reason given").chars().take(160).collect();
    format!("tract cannot work with this network: {first}")
}
