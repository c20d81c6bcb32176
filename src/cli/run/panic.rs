//! A panic anywhere ends the process: one line with its place, then abort.
//!
//! Unwinding would end one thread and leave the others waiting for it, pinging a watchdog or not as chance has it. What tract
//! may do while an untrusted network is tried is caught before it gets here ([`crate::onnx`]).

use crate::life;
use crate::sys::stderr;
use std::panic::set_hook;
use std::path::{Path, PathBuf};

/// From now on a panic is one line on stderr, a note in `runs` for the next start, and SIGABRT.
pub fn abort_with_one_line(runs: Option<&Path>) {
    let runs = runs.map(PathBuf::from);
    set_hook(Box::new(move |info| {
        let payload = info.payload();
        let words = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = info.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let line = format!("at {place} (thread {thread}): {}", words.unwrap_or("no words").replace(['\n', '\r'], " "));
        stderr::last_word(&format!("lookout: panic {line}\n"));
        if let Some(runs) = &runs {
            life::note_panic(runs, &line);
        }
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_panic_in_any_thread_is_one_line_and_the_end() {
        let start = std::time::Instant::now();
        let name = "cli::run::panic::tests::child_panics_in_a_thread";
        let child =
            Command::new(std::env::current_exe().unwrap()).args(["--exact", name, "--ignored", "--nocapture"]).output().unwrap();
        const SIGABRT: i32 = 6;
        assert_eq!(child.status.signal(), Some(SIGABRT));
        let said = String::from_utf8(child.stderr).unwrap();
        let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("lookout: ")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(
            lines[0].starts_with("lookout: panic at src/cli/run/panic.rs:") && lines[0].ends_with("(thread capture): two lines"),
            "{said}"
        );
        assert!(!said.contains("RUST_BACKTRACE"), "{said}");
        eprintln!("figure: W2 one line, SIGABRT, {} ms from start to end", start.elapsed().as_millis());
    }

    #[test]
    #[ignore = "run by a_panic_in_any_thread_is_one_line_and_the_end"]
    fn child_panics_in_a_thread() {
        abort_with_one_line(None);
        let thread = std::thread::Builder::new().name("capture".into()).spawn(|| panic!("two\nlines"));
        let _ = thread.unwrap().join();
        std::process::exit(0); // not reached
    }
}
