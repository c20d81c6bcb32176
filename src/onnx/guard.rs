//! What stands between a hostile ONNX file and the process.
//!
//! tract reads files that anybody may have made, and in places it indexes before it looks (an `Unsqueeze` axis beyond the
//! rank, for one; some operators do so with the numbers of a single picture). Whatever slips through the checks of [`super`] is caught here and
//! becomes an ordinary refusal; a fault of our own is named as such, with its place. Where the build aborts on panics (the firmware profile) there is nothing to catch: then
//! the sentence is said and the process ends with 2, wrong bundle, as it would for any other refusal.

use crate::bundle::{Bundle, BundleError};
use crate::sys::stderr;
use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use tract_onnx::prelude::TractResult;
use tract_onnx::tract_hir::internal::format_err;

thread_local! {
    /// The network that is not trusted yet and that this thread is at work on, in the words of a refusal.
    static GUARDED: RefCell<Option<Cow<'static, str>>> = const { RefCell::new(None) };
    /// What the last panic in it said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic in it becomes a refusal of `bundle` that names the file or the step, `what`.
///
/// # Errors
/// Those of `work`, and its panics.
pub(crate) fn guarded<T>(bundle: &Bundle, what: &str, work: impl FnOnce() -> Result<T, BundleError>) -> Result<T, BundleError> {
    caught(bundle.refuse(what).to_string(), work).unwrap_or_else(|words| Err(bundle.refuse(format!("{what}: {words}"))))
}

/// Runs `work` on the network `name`; a panic in it becomes a sentence.
///
/// # Errors
/// What the panic said.
pub(crate) fn caught<T>(name: impl Into<Cow<'static, str>>, work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| match GUARDED.take() {
            None => before(info),
            Some(name) if cfg!(panic = "abort") => {
                stderr::last_word(&format!("lookout: {name}: {}\n", words(info)));
                std::process::exit(2);
            }
            name => {
                SAID.set(words(info));
                GUARDED.set(name);
            }
        }));
    });
    let outer = GUARDED.replace(Some(name.into()));
    // What a panic leaves half done is dropped with the closure; nothing outlives it.
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    // Where somebody else's hook has taken the place of ours, the panic's own words have to do.
    result.map_err(|panic| match SAID.take() {
        said if said.is_empty() => {
            format!("it panicked: {}", panic.downcast_ref::<String>().map_or("no reason given", |s| s.as_str()))
        }
        said => said,
    })
}

/// Runs the network of `what`; a panic becomes an error of this run alone, where panics unwind: where they abort it ends the program like any
/// other, and it is started again. Allocates nothing where there is none.
///
/// # Errors
/// Those of `work`, and its panics.
pub(crate) fn run<T>(what: &'static str, work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    if cfg!(panic = "abort") {
        return work();
    }
    caught(what, work).unwrap_or_else(|words| Err(format_err!("{words}")))
}

/// A sentence with the first line of what a panic said. Our own files are named from the project's folder, all others from the root or cargo's.
fn words(info: &PanicHookInfo<'_>) -> String {
    let first: String =
        info.payload_as_str().and_then(|t| t.lines().next()).unwrap_or("no reason given").chars().take(160).collect();
    match info.location() {
        Some(at) if at.file().starts_with("src/") => format!("a fault of lookout's at {}:{}: {first}", at.file(), at.line()),
        _ => format!("tract cannot work with this network: {first}"),
    }
}
