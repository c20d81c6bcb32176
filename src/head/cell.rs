//! One recurrent layer, tick by tick: LSTM, GRU or RNN over weights that were packed at load.
//!
//! A tick has two halves. [`Cell::project`] is what depends on the input alone, `W x + b`: for the first layer it is made
//! once a tick and cached in the ring. [`Cell::step`] adds the recurrent half and moves the state. In int8 both halves are
//! exact integer products (`head/dot.rs`), scaled and biased in f32; the gates are f32 always. Nothing is allocated here.

use super::dot::{LANES, Levels, MAX_DEPTH, Rows};
use super::gates;
use crate::lanes::Here;
use crate::past;

/// Weights `[rows][depth]` as the file has them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// What they are worth, row by row.
    pub(super) values: Vec<f32>,
    /// The same as s8 and one scale a row, where the file holds them so: then nothing is rounded a second time.
    pub(super) bytes: Option<(Vec<i8>, Vec<f32>)>,
    /// Inputs.
    pub(super) depth: usize,
}

impl Weights {
    /// Some of the gates (`[gate][hidden]` rows), each filled up with rows of zeros to `padded`.
    fn gates(&self, gates: std::ops::Range<usize>, hidden: usize, padded: usize) -> Self {
        fn rows<T: Copy + Default>(from: &[T], width: usize, gates: &std::ops::Range<usize>, sizes: (usize, usize)) -> Vec<T> {
            let mut out = vec![T::default(); gates.len() * sizes.1 * width];
            for (to, gate) in out.chunks_exact_mut(sizes.1 * width).zip(gates.clone()) {
                to[..sizes.0 * width].copy_from_slice(&from[gate * sizes.0 * width..(gate + 1) * sizes.0 * width]);
            }
            out
        }
        let sizes = (hidden, padded);
        Self {
            values: rows(&self.values, self.depth, &gates, sizes),
            bytes: self.bytes.as_ref().map(|(w, s)| (rows(w, self.depth, &gates, sizes), rows(s, 1, &gates, sizes))),
            depth: self.depth,
        }
    }

    /// Rounded to s8 with one scale a row, if the file does not have them so already.
    fn rounded(&self) -> (Vec<i8>, Vec<f32>) {
        if let Some(bytes) = &self.bytes {
            return bytes.clone();
        }
        let top = |row: &[f32]| row.iter().fold(0.0f32, |t, w| t.max(w.abs()));
        let scale: Vec<f32> = self.values.chunks_exact(self.depth).map(|row| top(row) / 127.0).collect();
        let rows = self.values.chunks_exact(self.depth).zip(&scale);
        let bytes = rows.flat_map(|(row, s)| row.iter().map(move |w| if *s > 0.0 { (w / s).round_ties_even() as i8 } else { 0 }));
        (bytes.collect(), scale)
    }
}

/// Packed weights of either kind.
#[derive(Clone, Debug)]
pub(super) enum Matrix {
    /// s8.
    Bytes(Rows),
    /// f32, `[block][depth][16 rows]`.
    Floats { here: Here, packed: Box<[[f32; LANES]]>, depth: usize },
}

impl Matrix {
    /// Packs; in int8 where asked for and where no sum can overflow. Rows are filled up to a multiple of 16.
    pub(super) fn pack(here: Here, weights: &Weights, int8: bool) -> Self {
        let depth = weights.depth;
        if int8 && depth <= MAX_DEPTH {
            let (bytes, scale) = weights.rounded();
            return Self::Bytes(Rows::pack(here, &bytes, &scale, depth));
        }
        let blocks = (weights.values.len() / depth).div_ceil(LANES);
        let mut packed = vec![[0.0; LANES]; blocks * depth];
        for (r, row) in weights.values.chunks_exact(depth).enumerate() {
            for (k, w) in row.iter().enumerate() {
                packed[r / LANES * depth + k][r % LANES] = *w;
            }
        }
        Self::Floats { here, packed: packed.into(), depth }
    }

    /// `out = weights * x`, where `levels` are those of `x` already.
    fn times(&mut self, x: &[f32], levels: &Levels, out: &mut [f32]) {
        match self {
            Self::Bytes(rows) => rows.times(levels, out),
            Self::Floats { here, packed, depth } => gates::floats(*here, packed, &x[..*depth], out),
        }
    }

    fn is_bytes(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }
}

/// Which cell, as ONNX defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Gates i, o, f, c.
    Lstm,
    /// Gates z, r, h; `late` is `linear_before_reset = 0`: the reset comes before the weights of h.
    Gru { late: bool },
    /// Tanh.
    Rnn,
}

impl Kind {
    /// Gates of a hidden number.
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru { .. } => 3,
            Self::Rnn => 1,
        }
    }

    /// As people write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lstm => "LSTM",
            Self::Gru { .. } => "GRU",
            Self::Rnn => "RNN",
        }
    }
}

/// A recurrent layer as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    pub(super) hidden: usize,
    /// `[gates * hidden][inputs]`.
    pub(super) input: Weights,
    /// `[gates * hidden][hidden]`.
    pub(super) recurrent: Weights,
    /// Bias of the input half and of the recurrent half, `[gates * hidden]` each.
    pub(super) bias: (Vec<f32>, Vec<f32>),
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    here: Here,
    kind: Kind,
    hidden: usize,
    input: Matrix,
    /// Added to the projection: both halves' bias, except that of a GRU's h, which belongs behind its reset.
    bias: Box<[f32]>,
    recurrent: Matrix,
    /// GRU: weights of h where they come behind the reset, and the bias of h's recurrent half.
    late: Option<Matrix>,
    late_bias: Box<[f32]>,
    /// State, filled up to a multiple of 16.
    h: Box<[f32]>,
    c: Box<[f32]>,
    /// Is the state still zero?
    young: bool,
    given: Levels,
    levels: Levels,
    half: Box<[f32]>,
    reset: Box<[f32]>,
    own_row: Box<[f32]>,
}

impl Cell {
    pub(super) fn new(here: Here, layer: &Layer, int8: bool) -> Self {
        let (hidden, gates) = (layer.hidden, layer.kind.gates());
        let padded = hidden.next_multiple_of(LANES);
        let late = layer.kind == Kind::Gru { late: true };
        let pack = |w: &Weights, gates| Matrix::pack(here, &w.gates(gates, hidden, padded), int8);
        let mut bias = vec![0.0; gates * padded];
        let mut late_bias = vec![0.0; padded];
        let both = layer.bias.0.chunks_exact(hidden).zip(layer.bias.1.chunks_exact(hidden));
        for (gate, (to, (a, b))) in bias.chunks_exact_mut(padded).zip(both).enumerate() {
            to.iter_mut().zip(a).for_each(|(to, a)| *to = *a);
            if matches!(layer.kind, Kind::Gru { .. }) && gate == 2 {
                late_bias[..hidden].copy_from_slice(b);
            } else {
                to.iter_mut().zip(b).for_each(|(to, b)| *to += b);
            }
        }
        Self {
            here,
            kind: layer.kind,
            hidden,
            input: pack(&layer.input, 0..gates),
            bias: bias.into(),
            recurrent: pack(&layer.recurrent, 0..if late { 2 } else { gates }),
            late: late.then(|| pack(&layer.recurrent, 2..3)),
            late_bias: late_bias.into(),
            h: vec![0.0; padded].into(),
            c: vec![0.0; padded].into(),
            young: true,
            given: Levels::new(layer.input.depth),
            levels: Levels::new(hidden),
            half: vec![0.0; if late { 2 } else { gates } * padded].into(),
            reset: vec![0.0; padded].into(),
            own_row: vec![0.0; gates * padded].into(),
        }
    }

    /// Numbers of a projected tick.
    pub(super) fn row(&self) -> usize {
        self.bias.len()
    }

    /// `row = W x + b`.
    pub(super) fn project(&mut self, x: &[f32], row: &mut [f32]) {
        if self.input.is_bytes() {
            self.given.take_any(self.here, x);
        }
        self.input.times(x, &self.given, row);
        gates::add(self.here, row, &self.bias);
    }

    /// One tick from a projected row.
    pub(super) fn step(&mut self, row: &[f32]) {
        // Zero times anything finite is zero: the first tick of a window needs no product.
        if std::mem::take(&mut self.young) {
            self.half.fill(0.0);
        } else {
            self.times_state();
        }
        let Self { here, half, h, .. } = self;
        match (self.kind, &mut self.late) {
            (Kind::Lstm, _) => gates::lstm(*here, row, half, &mut self.c, h),
            (Kind::Rnn, _) => gates::rnn(*here, row, half, h),
            (Kind::Gru { .. }, None) => gates::gru(*here, row, half, &self.late_bias, h),
            (Kind::Gru { .. }, Some(late)) => {
                gates::gru_reset(*here, row, half, h, &mut self.reset);
                if late.is_bytes() {
                    self.levels.take_unit(*here, &self.reset[..self.hidden]);
                }
                // A GRU has no cell state: its place takes the product.
                let (reset, made) = (&self.reset, &mut self.c);
                late.times(&reset[..self.hidden], &self.levels, made);
                gates::gru_late(*here, row, half, made, &self.late_bias, h);
            }
        }
    }

    /// Projects and steps: for layers behind the first, whose input is known only now.
    pub(super) fn advance(&mut self, x: &[f32]) {
        let mut row = std::mem::take(&mut self.own_row);
        self.project(x, &mut row);
        self.step(&row);
        self.own_row = row;
    }

    /// The state's visible half.
    pub(super) fn state(&self) -> &[f32] {
        &self.h[..self.hidden]
    }

    /// Back to zero state.
    pub(super) fn forget(&mut self) {
        self.h.fill(0.0);
        self.c.fill(0.0);
        self.young = true;
    }

    /// Its state as bytes, for another run.
    pub(super) fn remember(&self, to: &mut Vec<u8>) {
        past::put(to, &self.h[..self.hidden]);
        if self.kind == Kind::Lstm {
            past::put(to, &self.c[..self.hidden]);
        }
    }

    /// Goes on from there; `None`: no tick leaves such a state. The sums of `head/dot.rs` are exact for what gates give, -1 to 1, and no more.
    pub(super) fn recall(&mut self, from: &mut &[u8]) -> Option<()> {
        self.forget();
        let (h, c) = (&mut self.h[..self.hidden], &mut self.c[..self.hidden]);
        past::take(from, h)?;
        if self.kind == Kind::Lstm {
            past::take(from, c)?;
        }
        self.young = false;
        (h.iter().all(|h| h.abs() <= 1.0) && c.iter().all(|c| c.is_finite())).then_some(())
    }

    fn times_state(&mut self) {
        let Self { here, levels, half, h, hidden, .. } = self;
        if self.recurrent.is_bytes() {
            levels.take_unit(*here, &h[..*hidden]);
        }
        self.recurrent.times(&h[..*hidden], levels, half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_no_tick_leaves_is_not_taken_up() {
        let hidden = 5;
        for kind in [Kind::Lstm, Kind::Gru { late: true }, Kind::Gru { late: false }, Kind::Rnn] {
            let rows = kind.gates() * hidden;
            let weights = |depth: usize| Weights { values: vec![0.5; rows * depth], bytes: None, depth };
            let bias = (vec![0.0; rows], vec![0.0; rows]);
            let layer = Layer { kind, hidden, input: weights(3), recurrent: weights(hidden), bias };
            let mut cell = Cell::new(Here::best(), &layer, true);
            // As far out as gates go.
            (0..50).for_each(|_| cell.advance(&[1e6; 3]));
            let (mut kept, state) = (vec![], cell.state().to_vec());
            cell.remember(&mut kept);
            assert_eq!((cell.recall(&mut &kept[..]), cell.state()), (Some(()), &state[..]), "{kind:?}: its own");
            // Both halves of the state, where it has two.
            for at in (0..kept.len()).step_by(4) {
                for value in [2.0, -1.000_001, f32::NAN, f32::INFINITY] {
                    let mut other = kept.clone();
                    other[at..at + 4].copy_from_slice(&value.to_le_bytes());
                    let can_be = at >= 4 * hidden && value.is_finite();
                    assert_eq!(cell.recall(&mut &other[..]).is_some(), can_be, "{kind:?}: {value} at {at}");
                }
            }
        }
    }
}
