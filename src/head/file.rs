//! Any ONNX file that is a head, without a bundle around it: for `lookout bench --onnx`.
//!
//! Its input is `[1, T, D]`, or `[T, 1, D]` as ONNX itself has it. The rule for int8 is that of a bundle without golden
//! vectors. A file of one tick is timed as it runs in a camera box: with the state that the tick before left.

use super::own::Own;
use super::prove::{Terms, choose};
use super::read::{self, Order};
use super::{Arithmetic, HeadError, Plain};
use crate::lanes::Here;
use crate::onnx;
use crate::qnn::kernels::Isa;
use crate::rng::Rng;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::DatumType;

/// See the module's documentation.
#[derive(Debug)]
pub struct HeadFile {
    own: Own,
    words: String,
    window: usize,
    input: Vec<f32>,
    rows: Vec<f32>,
    out: Vec<f32>,
}

impl HeadFile {
    /// Reads a file as a head; open dimensions become 1.
    ///
    /// # Errors
    /// Why it is none that our own cells can run, in a few words.
    pub fn read(proto: &ModelProto, isa: Isa) -> Result<Self, String> {
        let (kind, dims) = onnx::input_fact(proto)?;
        let dims: Vec<usize> = dims.iter().map(|d| d.unwrap_or(1)).collect();
        let (window, features, order) = match dims[..] {
            [1, t, d] => (t, d, Order::BatchFirst),
            [t, 1, d] => (t, d, Order::TimeFirst),
            _ => return Err(format!("an input of shape {dims:?}")),
        };
        let fits = (1..=65_536).contains(&features) && (1..=65_536).contains(&window);
        if !fits || kind != DatumType::F32 {
            return Err(format!("an input of shape {dims:?}, {kind:?}"));
        }
        let chain = read::chain(proto, window, features, order)?;
        let (mut plain, classes) = Plain::load(proto, &dims, false).map_err(|e| onnx::sentence(&e))?;
        let terms = Terms { window, features, classes, temperature: 1.0, allowed: f32::INFINITY, boxes: None, golden: vec![] };
        let failed = |e: HeadError| e.to_string();
        let chosen =
            choose(&terms, (&chain, None), Arithmetic::Quickest, isa, |rows, out| plain.run(rows, out)).map_err(failed)?;
        let (mut own, words) = chosen?;
        let mut draw = Rng(7);
        let input: Vec<f32> = (0..window * features).map(|_| draw.within(-1.0, 1.0)).collect();
        let mut rows = vec![0.0; window * own.row()];
        let width = own.row();
        for (x, row) in input.chunks_exact(features).zip(rows.chunks_exact_mut(width)) {
            own.project(x, row).map_err(failed)?;
        }
        // The state that a tick before left.
        own.step(&rows[..width]);
        Ok(Self { own, words, window, input, rows, out: vec![0.0; classes] })
    }

    /// Which cells, in which arithmetic, by which instructions.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// What depends on one tick's input alone.
    ///
    /// # Errors
    /// None for a file that was read.
    pub fn project(&mut self) -> Result<(), HeadError> {
        let (features, width) = (self.input.len() / self.window, self.own.row());
        self.own.project(&self.input[..features], &mut self.rows[..width])
    }

    /// The recurrent half of one tick, from the state that the last one left.
    pub fn step(&mut self) {
        let width = self.own.row();
        self.own.step(&self.rows[..width]);
    }

    /// The file once: projections, steps and what stands behind them. From zero state, but for a file of one tick.
    ///
    /// # Errors
    /// None for a file that was read.
    pub fn run(&mut self) -> Result<&[f32], HeadError> {
        let (features, width) = (self.input.len() / self.window, self.own.row());
        if self.window > 1 {
            self.own.forget();
        }
        for (x, row) in self.input.chunks_exact(features).zip(self.rows.chunks_exact_mut(width)) {
            self.own.project(x, row)?;
            self.own.step(row);
        }
        self.own.finish(&mut self.out);
        Ok(&self.out)
    }
}

/// What our own cells make of a file before tract is asked: read, packed in both arithmetics and run once over zeros; in words.
///
/// # Errors
/// Why they would not run it, in a few words.
pub fn alone(proto: &ModelProto, window: usize, features: usize) -> Result<String, String> {
    let chain = read::chain(proto, window, features, Order::BatchFirst)?;
    let mut said = vec![];
    for int8 in [true, false] {
        let own = Own::new(&chain, None, features, int8, Here::of(Isa::best()));
        let mut own = own.ok_or("a layer of a shape that is not run")?;
        let mut out = vec![0.0; own.classes()];
        own.run_window(&vec![0.0; window * features], &mut out).map_err(|e| e.to_string())?;
        said.push(own.words().to_string());
    }
    Ok(said.join("; "))
}
