//! Where frames come from, and whether the bundle can take them.
//!
//! A recording is opened, and its first frame played, as `run` does it. From a FIFO nothing is taken, and it is not even opened: its writer would take us for
//! the service. A black picture stands for what comes through a pipe, whose format and size are known; a camera is `camera`'s to ask.

use super::Running;
use super::finding::Finding;
use crate::bundle::Bundle;
use crate::cli::Failure;
use crate::cli::setup::takes;
use crate::config::Config;
use crate::encoder::Form;
use crate::pipeline::{Options, Pipeline};
use crate::qnn::Engine;
use crate::source::open::{self, Spec};
use crate::source::pipe::PipeSpec;
use crate::source::{Frame, Image, Payload, Seq, SourceError, Timestamp};

/// Would `run` begin, and take the first frame? `spec`: a recording or a pipe; `None`: a camera.
pub(super) fn look(config: &Config, running: &Running, spec: Option<&Spec>) -> Option<Finding> {
    let bundle = &running.bundle;
    if let Err(why) = takes(bundle.contract.input.is_none(), config) {
        return Some(Finding::broken("source", 2, why).fix("name another source, or another bundle"));
    }
    let mut pipeline = match pipeline(config, running) {
        Ok(pipeline) => pipeline,
        Err(e) => return Some(Finding::broken("config", e.code, e.why).fix("correct the configuration, or name another bundle")),
    };
    Some(match first(spec?, bundle, &mut pipeline) {
        Ok(says) => Finding::ok("source", says),
        Err(e) => Finding::broken("source", e.code, e.why).fix("correct `source` in the configuration, or what it names"),
    })
}

/// As `run` makes it.
fn pipeline(config: &Config, Running { bundle, meant }: &Running) -> Result<Pipeline, Failure> {
    let place = config.place && (*meant || bundle.contract.input.is_some());
    let form = Form::On(Engine { threads: config.threads, ..Engine::best() });
    let options = Options { region: config.looked_at(), place, form, ..Options::default() };
    Ok(Pipeline::new(bundle, &options)?)
}

/// What comes from there; its first frame was taken, where it could be had.
fn first(spec: &Spec, bundle: &Bundle, pipeline: &mut Pipeline) -> Result<String, Failure> {
    let within: &Spec = if let Spec::Faulty(_, within) = spec { within } else { spec };
    let path = within.path();
    if let Spec::Pipe(pipe) = within {
        if path != "-" {
            piped(path)?;
        }
        black(pipe, pipeline)?;
        return Ok(format!("pictures through {spec}"));
    }
    // Whatever is neither a file nor a folder may have somebody at its other end; a bare path is looked at before it is opened.
    let special = std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    if path == "-" || (special && !matches!(within, Spec::Guess(_))) {
        return Ok(format!("{spec}, which is read by `run` alone"));
    }
    let mut source = open::open(spec, &open::Options::for_bundle(bundle))?;
    let says = source.describe();
    match source.next() {
        Ok(Some(frame)) => take(&frame, pipeline)?,
        // An empty one ends at once, and what is damaged is left out.
        Ok(None) | Err(SourceError::Broken { .. } | SourceError::Stalled { .. }) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(says)
}

/// Is there something that pictures can come through?
fn piped(path: &str) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(Failure::refused(format!("{path}: a folder, expected a FIFO or a file"))),
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::broke(format!("{path}: no such file; `mkfifo` makes a pipe, or the program that writes into it"))),
    }
}

/// Takes a picture as it will come through a pipe.
fn black(pipe: &PipeSpec, pipeline: &mut Pipeline) -> Result<(), Failure> {
    let stride = pipe.format.min_stride(pipe.width);
    let bytes = vec![0; pipe.format.frame_bytes(pipe.width, pipe.height, stride).unwrap_or_default()];
    let image = Image::new(pipe.format, pipe.width, pipe.height, stride, &bytes)?;
    take(&Frame { at: Timestamp::default(), seq: Seq(0), payload: Payload::Image(image) }, pipeline)
}

/// Takes a frame; what costs `run` a tick and no more is no matter here.
fn take(frame: &Frame<'_>, pipeline: &mut Pipeline) -> Result<(), Failure> {
    match pipeline.play(frame, None, &mut (), &mut |_| {}).map_err(Failure::from) {
        Err(e) if e.code == 2 => Err(e),
        _ => Ok(()),
    }
}
