//! Stock tract on any ONNX file, timed in turn with the other runtimes by compare.py.
//!
//! `stock_tract FILE`: then a line with milliseconds on stdin for each round, answered by one JSON line; the same talk as
//! peer.py's. The model is loaded as tract's own documentation does it, without anything of lookout. It is an example of this
//! package rather than a crate of its own so that it is built against exactly the tract that lookout is built against.

use std::io::{BufRead, Write};
use std::time::Duration;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{DimLike, Factoid};

fn main() -> TractResult<()> {
    let file = std::env::args().nth(1).unwrap_or_default();
    let model = tract_onnx::onnx().with_ignore_value_info(true).model_for_path(&file)?;
    let fact = model.input_fact(0)?;
    let kind = fact.datum_type.concretize().unwrap_or(DatumType::F32);
    let shape: Vec<usize> = fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_usize().ok()).unwrap_or(1)).collect();
    let model = model.with_input_fact(0, kind.fact(&*shape).into())?.into_optimized()?;
    let plan = model.into_runnable()?;
    let input = Tensor::zero_dt(kind, &shape)?;
    let mut out = std::io::stdout().lock();
    // The shape of the input comes first; it is in the file.
    for (n, line) in std::io::stdin().lock().lines().enumerate() {
        if n == 0 {
            for _ in 0..3 {
                plan.run(tvec![input.clone().into_tvalue()])?;
            }
            writeln!(out, "{{\"ready\": true}}")?;
        } else {
            let (mut times, end) = (vec![], now() + Duration::from_secs_f64(line?.trim().parse::<f64>()? / 1e3));
            while times.len() < 3 || now() < end {
                let start = now();
                plan.run(tvec![input.clone().into_tvalue()])?;
                times.push((now() - start).as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            let (median, min, runs) = (times[times.len() / 2], times[0], times.len());
            writeln!(out, "{{\"median\": {median}, \"min\": {min}, \"runs\": {runs}}}")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Processor time of this process.
fn now() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
