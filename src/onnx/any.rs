//! Any ONNX file with one input, ready to run: for `check --onnx`, `bench --onnx` and tests.

use super::{Runner, input_fact, parse, sentence, typed};
use crate::qnn::{self, Engine, Region, Report};
use ndarray::ArrayD;
use std::time::Duration;
use tract_onnx::prelude::*;

/// What a panic of it is called.
const NETWORK: &str = "the network";

/// See the module's text.
#[derive(Debug)]
pub struct Any {
    runner: Runner,
    regions: Vec<Arc<Region>>,
    report: Report,
    kind: DatumType,
    shape: Vec<usize>,
}

impl Any {
    /// Loads a file; open dimensions become 1. `engine` runs its int8 part with our operator, `None` leaves all of it to tract.
    ///
    /// # Errors
    /// One sentence: no ONNX, hostile, or not for tract.
    pub fn load(bytes: &[u8], engine: Option<Engine>) -> Result<Self, String> {
        let proto = parse(bytes)?;
        let (kind, dims) = input_fact(&proto)?;
        let shape: Vec<usize> = dims.iter().map(|d| d.unwrap_or(1)).collect();
        let outputs = proto.graph.as_ref().map_or(1, |g| g.output.len());
        let (proto, regions, report) = match engine {
            Some(engine) => {
                let cut = qnn::cut(&proto, &shape, qnn::Options { engine, bytes_in: false })?;
                (cut.proto, cut.regions, cut.report)
            }
            None => {
                let mut proto = proto;
                qnn::in_float(&mut proto);
                (proto, vec![], Report::default())
            }
        };
        let runner = || {
            let mut model = typed(&proto, &[(0, kind.fact(&*shape).into())], outputs)?;
            qnn::fill(&mut model, &regions)?;
            Runner::new(model.into_optimized()?)
        };
        let runner = runner().map_err(|e| sentence(&e))?;
        Ok(Self { runner, regions, report, kind, shape })
    }

    /// What runs on bytes and what does not.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Where the time goes: each layer that runs on bytes, what it is, its multiplications, and its median time of so many runs.
    pub fn profile(&self, rounds: usize) -> Vec<(String, u64, Duration)> {
        self.regions.iter().flat_map(|region| region.profile(rounds)).collect()
    }

    /// Element type of the input.
    pub fn kind(&self) -> DatumType {
        self.kind
    }

    /// Shape of the input.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// One run, for its time.
    ///
    /// # Errors
    /// What tract says.
    pub fn time(&mut self, input: &Arc<Tensor>) -> Result<(), String> {
        self.runner.run(NETWORK, TValue::from_const(input.clone())).map(drop).map_err(|e| sentence(&e))
    }

    /// The first output, as f32.
    ///
    /// # Errors
    /// What tract says.
    pub fn run(&mut self, input: Tensor) -> Result<ArrayD<f32>, String> {
        let run = || -> TractResult<ArrayD<f32>> {
            let out = self.runner.run(NETWORK, input.into_tvalue())?;
            let out = out[0].cast_to::<f32>()?;
            let shape = out.shape().to_vec();
            Ok(ArrayD::from_shape_vec(shape, out.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())?)
        };
        run().map_err(|e| sentence(&e))
    }
}
