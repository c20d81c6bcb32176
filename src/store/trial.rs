//! A bundle is tried in a process of its own before it is trusted.
//!
//! A network is a program that somebody else wrote: it may be made to take all memory, to run for ever or to make tract
//! fall over, and in a build that aborts on panics that would be our end. So our own executable is started once more with
//! the hidden command `trial`, under limits on memory, processor time and files, and loads the bundle and runs its golden
//! vectors there. What it says about the bundle is all that comes back.

use crate::bundle::{Bundle, BundleError, Decision};
use crate::golden;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Most memory, in MiB of addresses. The largest bundle of `tests/bundles` takes a tenth.
pub const MEMORY_MIB: u64 = 512;
/// Most processor time in seconds.
pub const CPU_S: u64 = 60;
/// Most time by the clock.
pub const WALL: Duration = Duration::from_secs(120);
/// Most that is read of what a trial says.
const MAX_WORDS: u64 = 1 << 20;

/// What a trial says about a bundle that passed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its hash: sha256 of `bundle.toml`.
    pub hash: String,
    /// It takes rows of numbers instead of pictures.
    pub rows: bool,
    /// Labels in output order.
    pub labels: Vec<String>,
    /// Names of the extras that it reads.
    pub extra: Vec<String>,
    /// Its thresholds.
    pub decision: (f32, f32, u32),
    /// Everything it needs, with sha256, `bundle.toml` too.
    pub files: BTreeMap<String, String>,
    /// Golden vectors that were compared.
    pub vectors: usize,
}

impl Verdict {
    /// Its thresholds as the bundle said them.
    pub fn thresholds(&self) -> Decision {
        let (enter, leave, min_ms) = self.decision;
        Decision { enter, leave, min_ms, ..Decision::default() }
    }
}

/// The trial itself, in the process that was started for it: limits, then bundle, then golden vectors.
///
/// # Errors
/// One sentence.
pub fn attempt(dir: &Path, limited: bool) -> Result<Verdict, BundleError> {
    if limited {
        limit().map_err(|why| BundleError { bundle: dir.display().to_string(), why: format!("limits for its trial: {why}") })?;
    }
    let bundle = Bundle::open(dir)?;
    let Some(found) = golden::prove(&bundle)? else {
        return Err(
            bundle.refuse("it has no golden vectors: nothing shows that it computes here what it computed where it was trained")
        );
    };
    let labels = bundle.labels.iter().map(|l| l.to_string()).collect();
    let c = bundle.contract;
    let mut files = c.files;
    files.insert("bundle.toml".into(), bundle.hash.clone());
    Ok(Verdict {
        name: c.name,
        version: c.version,
        hash: bundle.hash,
        rows: c.input.is_none(),
        labels,
        extra: c.extra.into_iter().map(|extra| extra.name).collect(),
        decision: (c.decision.enter, c.decision.leave, c.decision.min_ms),
        files,
        vectors: found.vectors,
    })
}

/// Bounds this process for good.
fn limit() -> rustix::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    for (what, most) in [
        (Resource::As, MEMORY_MIB << 20),
        (Resource::Cpu, CPU_S),
        (Resource::Core, 0),
        // Nothing is written but what qemu-user copies of /proc/self/maps, where this runs under it.
        (Resource::Fsize, 64 << 10),
        (Resource::Nofile, 64),
    ] {
        // Where less is allowed already, less it is.
        let most = getrlimit(what).maximum.map_or(most, |max| most.min(max));
        // A second later than SIGXCPU, which says why it ended; SIGKILL would not.
        let maximum = if what == Resource::Cpu && getrlimit(what).maximum.is_none_or(|max| max > most) { most + 1 } else { most };
        setrlimit(what, Rlimit { current: Some(most), maximum: Some(maximum) })?;
    }
    // If the board itself is short of memory, this process is the one to go.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Tries a bundle folder in a process of its own. Without `limited` only the clock bounds it: for a bundle that passed
/// with limits when it was installed, where the service may not set any (`SystemCallFilter=~@resources`).
///
/// # Errors
/// One sentence: what the trial said, or how it ended.
pub fn run(dir: &Path, limited: bool) -> Result<Verdict, String> {
    let broke = |what: &str, e: std::io::Error| format!("bundle {}: its trial {what}: {e}", dir.display());
    // This very program, also when its file was replaced since it was started.
    let mut command = Command::new("/proc/self/exe");
    command.arg("trial").arg(dir).args(limited.then_some("--limited")).env_clear();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| broke("did not start", e))?;
    let (out, err) = (listen(child.stdout.take()), listen(child.stderr.take()));
    let ended = wait(&mut child);
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    match ended.map_err(|e| broke("could not be waited for", e))? {
        Some(status) if status.success() => serde_json::from_str(&out)
            .map_err(|e| format!("bundle {}: its trial said nothing that can be read: {e}", dir.display())),
        ended => Err(sentence(dir, ended, &err)),
    }
}

/// Reads what a child says while it runs: a full pipe would hold it up.
fn listen(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // What came before an error is still worth reading.
            let _ = from.take(MAX_WORDS).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for its end; `None`: its time was up and it was killed. However this ends, it runs no more.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + WALL;
    let ended = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            ended => break ended,
        }
    };
    if !matches!(ended, Ok(Some(_))) {
        // One that has ended meanwhile cannot be killed, nor waited for again.
        let _ = child.kill().and_then(|()| child.wait());
    }
    ended
}

/// How a trial that failed ended, in words.
fn sentence(dir: &Path, ended: Option<ExitStatus>, said: &str) -> String {
    let dir = dir.display();
    let Some(status) = ended else { return format!("bundle {dir}: its trial took more than {} s", WALL.as_secs()) };
    // Log lines begin with `[`; a panic's place and hint are no sentence for a user.
    let last = said.lines().rev().find(|l| !l.trim().is_empty() && !l.starts_with(['[', ' '])).unwrap_or_default();
    match (status.code(), status.signal()) {
        (Some(2), _) if last.starts_with("lookout: ") => last.trim_start_matches("lookout: ").into(),
        (_, Some(signal)) if signal == Signal::XCPU.as_raw() => {
            format!("bundle {dir}: its trial used more than {CPU_S} s of processor time")
        }
        _ if said.contains("memory allocation of ") => {
            format!("bundle {dir}: its trial needed more than {MEMORY_MIB} MiB of memory")
        }
        (Some(code), _) => format!("bundle {dir}: its trial ended with code {code}: {last}"),
        (_, Some(signal)) => format!("bundle {dir}: its trial was ended by signal {signal}"),
        (None, None) => format!("bundle {dir}: its trial ended without a word"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_trial_is_one_sentence() {
        let dir = Path::new("b");
        for (status, said, expected) in [
            (Some(2 << 8), "[warn] x\nlookout: bundle b: head.onnx: no\n", "bundle b: head.onnx: no"),
            (Some(24), "", "bundle b: its trial used more than 60 s of processor time"),
            (Some(6), "memory allocation of 99 bytes failed\n", "bundle b: its trial needed more than 512 MiB of memory"),
            (Some(9), "", "bundle b: its trial was ended by signal 9"),
            (Some(1 << 8), "lookout: gone\n", "bundle b: its trial ended with code 1: lookout: gone"),
            (None, "", "bundle b: its trial took more than 120 s"),
        ] {
            assert_eq!(sentence(dir, status.map(ExitStatus::from_raw), said), expected);
        }
    }
}
