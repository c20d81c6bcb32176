//! A head as a chain of our own: the first recurrent layer's projections in the ring, the rest tick by tick, no allocation.
//!
//! `window` mode starts every window from zero state, so its answer depends on nothing but the window. `carried` mode keeps
//! the state between ticks. Both are the same steps.

use super::HeadError;
use super::cell::{Cell, Matrix, Weights};
use super::dot::LANES;
use super::gates;
use super::read::{Link, Map, With};
use crate::lanes::Here;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Own {
    stages: Vec<Stage>,
    /// The first recurrent layer, and the last.
    first: usize,
    last: usize,
    /// From the last recurrent layer to a box, where there is one.
    boxes: Vec<Stage>,
    place: Option<[f32; 4]>,
    features: usize,
    words: String,
}

/// A link and what it makes of its input.
#[derive(Clone, Debug)]
struct Stage {
    work: Work,
    out: Box<[f32]>,
    width: usize,
}

#[derive(Clone, Debug)]
enum Work {
    Dense { here: Here, packed: Box<[[f32; LANES]]> },
    With(With, Vec<f32>),
    Map(Map),
    Cell(Box<Cell>),
}

impl Own {
    /// Packs a chain that takes `features` numbers a tick, its recurrent layers in int8 or f32; `boxes` leads from the last of them to a box.
    pub(super) fn new(chain: &[Link], boxes: Option<&[Link]>, features: usize, int8: bool, here: Here) -> Option<Self> {
        let stages = pack(chain, features, int8, here)?;
        let cell = |s: &Stage| matches!(s.work, Work::Cell(_));
        let (first, last) = (stages.iter().position(cell)?, stages.iter().rposition(cell)?);
        let words = words(chain, int8, here);
        let tail = pack(boxes.unwrap_or_default(), stages[last].width, int8, here)?;
        let place = boxes.map(|_| [0.0; 4]);
        if boxes.is_some() && tail.last().map_or(stages[last].width, |s| s.width) != 4 {
            return None;
        }
        Some(Self { stages, first, last, boxes: tail, place, features, words })
    }

    /// Numbers of a ring row: the first layer's projection.
    pub(super) fn row(&self) -> usize {
        if let Work::Cell(cell) = &self.stages[self.first].work { cell.row() } else { 0 }
    }

    /// Numbers that come out.
    pub(super) fn classes(&self) -> usize {
        self.stages.last().map_or(0, |s| s.width)
    }

    /// Which cells, in which arithmetic, by which instructions.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Once a tick: all that depends on this tick alone.
    pub(super) fn project(&mut self, features: &[f32], row: &mut [f32]) -> Result<(), HeadError> {
        if features.len() != self.features || row.len() != self.row() {
            return Err(HeadError(format!("{} features given, {} expected", features.len(), self.features)));
        }
        let (before, rest) = self.stages.split_at_mut(self.first);
        let x = run(before, features);
        if let Work::Cell(cell) = &mut rest[0].work {
            cell.project(x, row);
        }
        Ok(())
    }

    /// One tick of the recurrent part.
    pub(super) fn step(&mut self, row: &[f32]) {
        let (first, between) = self.stages[self.first..=self.last].split_at_mut(1);
        if let Work::Cell(cell) = &mut first[0].work {
            cell.step(row);
            first[0].out[..first[0].width].copy_from_slice(cell.state());
        }
        run(between, &first[0].out[..first[0].width]);
    }

    /// What stands behind the last recurrent layer, from its state now.
    pub(super) fn finish(&mut self, logits: &mut [f32]) {
        let (done, after) = self.stages.split_at_mut(self.last + 1);
        let last = &done[self.last];
        logits.copy_from_slice(run(after, &last.out[..last.width]));
        if let Some(place) = &mut self.place {
            place.copy_from_slice(run(&mut self.boxes, &last.out[..last.width]));
        }
    }

    /// The box that [`Own::finish`] found, where the head has one.
    pub(super) fn place(&self) -> Option<[f32; 4]> {
        self.place
    }

    /// The last recurrent layer's visible state after the last step; forgetting leaves it readable.
    pub(super) fn state(&self) -> &[f32] {
        let last = &self.stages[self.last];
        &last.out[..last.width]
    }

    /// Back to zero state.
    pub(super) fn forget(&mut self) {
        self.stages.iter_mut().for_each(|s| {
            if let Work::Cell(cell) = &mut s.work {
                cell.forget()
            }
        });
    }

    /// The state of every recurrent layer as bytes, for another run.
    pub(super) fn remember(&self, to: &mut Vec<u8>) {
        self.stages.iter().for_each(|s| {
            if let Work::Cell(cell) = &s.work {
                cell.remember(to)
            }
        });
    }

    /// Goes on from there.
    pub(super) fn recall(&mut self, from: &mut &[u8]) -> Option<()> {
        self.stages.iter_mut().try_for_each(|s| if let Work::Cell(cell) = &mut s.work { cell.recall(from) } else { Some(()) })
    }

    /// A whole window of rows from zero state.
    pub(super) fn run(&mut self, rows: &[f32], logits: &mut [f32]) {
        self.forget();
        let row = self.row();
        rows.chunks_exact(row).for_each(|row| self.step(row));
        self.finish(logits);
    }

    /// A whole window of features from zero state: for golden vectors. Allocates.
    pub(super) fn run_window(&mut self, features: &[f32], logits: &mut [f32]) -> Result<(), HeadError> {
        let mut row = vec![0.0; self.row()];
        self.forget();
        for tick in features.chunks(self.features) {
            self.project(tick, &mut row)?;
            self.step(&row);
        }
        self.finish(logits);
        self.forget();
        Ok(())
    }
}

/// Links to stages, behind something `width` numbers wide.
fn pack(chain: &[Link], mut width: usize, int8: bool, here: Here) -> Option<Vec<Stage>> {
    let mut stages = vec![];
    for link in chain {
        let (work, outputs) = match link {
            Link::Dense(weights) => (dense(here, weights)?, weights.values.len() / weights.depth),
            Link::With(op, values) => (Work::With(*op, values.clone()), width),
            Link::Map(map) => (Work::Map(*map), width),
            Link::Layer(layer) => (Work::Cell(Box::new(Cell::new(here, layer, int8))), layer.hidden),
        };
        width = outputs;
        stages.push(Stage { work, out: vec![0.0; width.next_multiple_of(LANES)].into(), width });
    }
    Some(stages)
}

/// Runs stages one after the other; what the last one made, or `x` if there is none.
fn run<'a>(stages: &'a mut [Stage], x: &'a [f32]) -> &'a [f32] {
    let mut x = x;
    for stage in stages {
        let Stage { work, out, width } = stage;
        match work {
            Work::Dense { here, packed } => gates::floats(*here, packed, x, out),
            Work::With(op, b) => {
                let pairs = out.iter_mut().zip(x).zip(b.iter());
                match op {
                    With::Add => pairs.for_each(|((o, x), b)| *o = x + b),
                    With::Subtract => pairs.for_each(|((o, x), b)| *o = x - b),
                    With::Multiply => pairs.for_each(|((o, x), b)| *o = x * b),
                    With::Divide => pairs.for_each(|((o, x), b)| *o = x / b),
                }
            }
            Work::Map(map) => {
                let pairs = out.iter_mut().zip(x);
                match map {
                    // Not `max`, which would turn a NaN into a number.
                    Map::Relu => pairs.for_each(|(o, x)| *o = if *x < 0.0 { 0.0 } else { *x }),
                    Map::Tanh => pairs.for_each(|(o, x)| *o = gates::tanh(*x)),
                    Map::Sigmoid => pairs.for_each(|(o, x)| *o = gates::sigmoid(*x)),
                }
            }
            Work::Cell(cell) => {
                cell.advance(x);
                out[..*width].copy_from_slice(cell.state());
            }
        }
        x = &out[..*width];
    }
    x
}

fn dense(here: Here, weights: &Weights) -> Option<Work> {
    match Matrix::pack(here, weights, false) {
        Matrix::Floats { packed, .. } => Some(Work::Dense { here, packed }),
        Matrix::Bytes(_) => None,
    }
}

/// `LSTM 64 -> 64, int8 (vnni)`.
fn words(chain: &[Link], int8: bool, here: Here) -> String {
    let layers: Vec<String> = chain
        .iter()
        .filter_map(|l| if let Link::Layer(l) = l { Some(l) } else { None })
        .map(|l| format!("{} {} -> {}", l.kind.name(), l.input.depth, l.hidden))
        .collect();
    format!("{}, {} ({})", layers.join(", "), if int8 { "int8" } else { "f32" }, here.isa())
}
