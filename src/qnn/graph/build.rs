//! From an operator's inputs to a [`Node`], the same for all ways of writing it.

use super::file::{float, int};
use super::shape::{MAX_BYTES, picture, reshaped, sane, windows};
use super::{Conv, Kind, Quant, Reader, Value, Windows};
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

/// An operator before it is known on which scale its output stands.
pub(super) struct Made {
    pub kind: Kind,
    pub inputs: Vec<usize>,
    pub shape: Vec<usize>,
    pub picture: [usize; 3],
}

/// Constant weights.
pub(super) struct Weights {
    /// Zero point taken off.
    pub values: Vec<i16>,
    pub dims: Vec<usize>,
    /// One, or one for each place along `axis`.
    pub scales: Vec<f32>,
    pub axis: usize,
}

/// A bias as the file has it.
pub(super) enum Bias {
    None,
    /// In units of input scale times weight scale.
    Whole(Vec<i32>),
    /// In real numbers.
    Real(Vec<f64>),
}

/// A factor of f32 that kernels can use.
fn usable(scale: f32) -> bool {
    scale.is_finite() && scale >= f32::MIN_POSITIVE
}

impl Reader<'_> {
    /// Scale and zero point of a whole tensor, by the names of their constants.
    pub(super) fn quant(&self, scale: Option<&str>, zero: Option<&str>) -> Result<Quant, String> {
        let scales = scale.and_then(|s| self.file.floats(s)).ok_or("a scale that is no constant of f32")?;
        let [scale] = scales[..] else { return Err(format!("{} scales for one tensor of activations", scales.len())) };
        if !usable(scale) {
            return Err(format!("a scale of {scale:e}, expected a number above 0"));
        }
        let (zero, signed) = match zero {
            None => (0, false),
            Some(name) => match self.file.integers(name).as_ref().map(|(v, kind)| (v.as_slice(), *kind)) {
                Some(([z], DataType::Uint8)) => (*z, false),
                Some(([z], DataType::Int8)) => (z + 128, true),
                _ => return Err("a zero point that is no constant of u8 or i8".into()),
            },
        };
        Ok(Quant { scale, zero: zero as u8, signed })
    }

    /// Constant weights by the names of their parts.
    pub(super) fn weights(&self, w: &str, scale: Option<&str>, zero: Option<&str>, axis: i64) -> Result<Weights, String> {
        let (raw, kind) = self.file.integers(w).ok_or("weights that are no constant of i8 or u8")?;
        if kind == DataType::Int32 {
            return Err("weights of i32".into());
        }
        let dims = self.file.dims(w).filter(|d| d.iter().product::<usize>() == raw.len() && !raw.is_empty());
        let dims = dims.ok_or("weights whose shape does not fit them")?;
        let scales = scale.and_then(|s| self.file.floats(s)).ok_or("a weight scale that is no constant of f32")?;
        if let Some(bad) = scales.iter().find(|s| !usable(**s)) {
            return Err(format!("a weight scale of {bad:e}, expected a number above 0"));
        }
        let zeros = match zero {
            None => vec![0],
            Some(name) => match self.file.integers(name) {
                Some((z, k)) if k == kind => z,
                _ => return Err("a zero point unlike its weights".into()),
            },
        };
        let rank = dims.len() as i64;
        let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).unwrap_or(usize::MAX);
        let side = dims.get(axis).copied();
        let fits = |n: usize| n == 1 || Some(n) == side;
        if !fits(scales.len()) || !fits(zeros.len()) {
            return Err(format!("{} scales and {} zero points for weights of {dims:?}", scales.len(), zeros.len()));
        }
        let inner: usize = dims.iter().skip(axis.saturating_add(1)).product();
        let zeros = if zeros.iter().all(|z| *z == zeros[0]) { vec![zeros[0]] } else { zeros };
        let zero_at = |n: usize| if zeros.len() == 1 { zeros[0] } else { zeros[n / inner % zeros.len()] };
        let values = raw.iter().enumerate().map(|(n, w)| (w - zero_at(n)) as i16).collect();
        Ok(Weights { values, dims, scales, axis })
    }

    /// A convolution of value `x`.
    pub(super) fn conv(&self, node: &NodeProto, x: usize, w: Weights, bias: Bias) -> Result<Made, String> {
        if self.net.values[x].constant.is_some() {
            return Err("a convolution of a constant".into());
        }
        let [height, width] = self.sides(x)?;
        let [outputs, depth, kh, kw] = w.dims[..] else { return Err(format!("weights of shape {:?}", w.dims)) };
        let groups = usize::try_from(int(node, "group", 1)).unwrap_or(0);
        let channels = self.net.values[x].picture[0];
        if groups == 0 || outputs % groups != 0 || depth.checked_mul(groups) != Some(channels) {
            return Err(format!("{groups} groups with weights {:?} over {channels} channels", w.dims));
        }
        if w.scales.len() > 1 && w.axis != 0 {
            return Err("weight scales that are not one for each output".into());
        }
        let windows = windows(node, [kh, kw], [height, width])?;
        let [h, w_out] = windows.output([height, width], false)?;
        let picture = [outputs, h, w_out];
        if !sane(picture) {
            return Err(format!("an output of {picture:?}"));
        }
        let conv = self.settled(x, windows, groups, outputs, w.values, w.scales, bias)?;
        Ok(Made { kind: Kind::Conv(Box::new(conv)), inputs: vec![x], shape: vec![1, outputs, h, w_out], picture })
    }

    /// A dense layer: `weights` are `[outputs][inputs]` once `transposed` is obeyed.
    pub(super) fn dense(&self, x: usize, w: Weights, transposed: bool, bias: Bias) -> Result<Made, String> {
        let Value { shape, picture: [_, height, width], .. } = &self.net.values[x];
        let ([1, inputs], [a, b]) = (shape.as_slice(), w.dims.as_slice()) else {
            return Err(format!("a product of {shape:?} and {:?}", w.dims));
        };
        let (outputs, depth) = if transposed { (*a, *b) } else { (*b, *a) };
        if depth != *inputs {
            return Err(format!("a product of {shape:?} and {:?}", w.dims));
        }
        if w.scales.len() > 1 && w.axis != usize::from(!transposed) {
            return Err("weight scales that are not one for each output".into());
        }
        let values = match transposed {
            true => w.values,
            false => (0..outputs).flat_map(|o| (0..depth).map(move |i| (i, o))).map(|(i, o)| w.values[i * outputs + o]).collect(),
        };
        // ONNX flattens to channel, row, column, which is how a convolution's weights stand as well.
        let conv = self.settled(x, Windows::whole(*height, *width), 1, outputs, values, w.scales, bias)?;
        let picture = [outputs, 1, 1];
        if !sane(picture) {
            return Err(format!("an output of {picture:?}"));
        }
        Ok(Made { kind: Kind::Conv(Box::new(conv)), inputs: vec![x], shape: vec![1, outputs], picture })
    }

    /// Bias and sums of a convolution, proved to stay inside i32.
    #[allow(clippy::too_many_arguments, reason = "the numbers of one layer, each once")]
    fn settled(
        &self,
        x: usize,
        windows: Windows,
        groups: usize,
        outputs: usize,
        weights: Vec<i16>,
        scales: Vec<f32>,
        bias: Bias,
    ) -> Result<Conv, String> {
        let quant = self.net.values[x].quant;
        let scales = if scales.len() == 1 { vec![scales[0]; outputs] } else { scales };
        let count = match &bias {
            Bias::None => outputs,
            Bias::Whole(b) => b.len(),
            Bias::Real(b) => b.len(),
        };
        if scales.len() != outputs || count != outputs || outputs == 0 {
            return Err(format!("{} scales and {count} biases for {outputs} outputs", scales.len()));
        }
        let unit = |o: usize| f64::from(quant.scale) * f64::from(scales[o]);
        let bias: Vec<f64> = match bias {
            Bias::None => vec![0.0; outputs],
            Bias::Whole(b) => b.into_iter().map(f64::from).collect(),
            Bias::Real(b) => b.iter().enumerate().map(|(o, b)| (b / unit(o)).round_ties_even()).collect(),
        };
        let each = weights.len() / outputs;
        for (o, row) in weights.chunks_exact(each).enumerate() {
            let size: i64 = row.iter().map(|w| i64::from(w.unsigned_abs())).sum();
            // Sums of bytes as they are, zero points in the bias.
            let largest = bias[o].abs() + 2.0 * 255.0 * size as f64;
            if largest.is_nan() || largest >= 2_147_483_647.0 {
                return Err(format!("sums of up to {largest:.0}, which 32 bits do not hold"));
            }
        }
        Ok(Conv { windows, groups, weights, scales, bias: bias.into_iter().map(|b| b as i32).collect() })
    }

    /// Sum or product of two values; the second may be one pixel for all.
    pub(super) fn pair(&self, kind: Kind, a: usize, b: usize) -> Result<Made, String> {
        let (va, vb) = (&self.net.values[a], &self.net.values[b]);
        let fits = |x: &Value, y: &Value| {
            let row = |v: &Value| [v.picture[0], 1, 1] == v.picture;
            let same = x.picture == y.picture && x.shape == y.shape;
            let pixel = x.shape.len() == 4 && y.shape.len() == 4 && x.picture[0] == y.picture[0] && row(y);
            x.constant.is_none() && (same || (pixel && x.shape[1..] == x.picture && y.shape[1..] == y.picture))
        };
        let (a, b) = match (fits(va, vb), fits(vb, va)) {
            (true, _) => (a, b),
            (_, true) => (b, a),
            _ => return Err(format!("shapes {:?} and {:?}", va.shape, vb.shape)),
        };
        let v = &self.net.values[a];
        Ok(Made { kind, inputs: vec![a, b], shape: v.shape.clone(), picture: v.picture })
    }

    /// Largest or mean under windows.
    pub(super) fn pool(&self, node: &NodeProto, x: usize, largest: bool) -> Result<Made, String> {
        let [height, width] = self.sides(x)?;
        let c = self.net.values[x].picture[0];
        let kernel = super::file::ints(node, "kernel_shape").unwrap_or_default();
        let kernel: Vec<usize> =
            kernel.iter().filter_map(|k| usize::try_from(*k).ok().filter(|k| (1..=1024).contains(k))).collect();
        let [kh, kw] = kernel[..] else { return Err("a pool without a kernel of two sides".into()) };
        let windows = windows(node, [kh, kw], [height, width])?;
        let ceil = int(node, "ceil_mode", 0) != 0;
        let full = int(node, "count_include_pad", 0) != 0;
        if windows.dilation != [1, 1] || int(node, "storage_order", 0) != 0 || node.output.get(1).is_some_and(|o| !o.is_empty()) {
            return Err("a pool with dilations or indices".into());
        }
        let pad = windows.pad;
        if pad[0].max(pad[2]) >= kh || pad[1].max(pad[3]) >= kw {
            return Err(format!("pads {pad:?} that are as large as the window"));
        }
        let [h, w] = windows.output([height, width], ceil)?;
        let over = |out: usize, s: usize, k: usize, room: usize| (out - 1) * s + k > room;
        if full
            && (over(h, windows.stride[0], kh, height + pad[0] + pad[2])
                || over(w, windows.stride[1], kw, width + pad[1] + pad[3]))
        {
            return Err("a mean that counts pixels beyond its pads".into());
        }
        let picture = [c, h, w];
        if !sane(picture) || kh * kw > 1 << 16 {
            return Err(format!("a pool of {kh} by {kw}, output {picture:?}"));
        }
        let kind = if largest { Kind::MaxPool(windows) } else { Kind::Mean(windows, full) };
        Ok(Made { kind, inputs: vec![x], shape: vec![1, c, h, w], picture })
    }

    /// Mean of each channel.
    pub(super) fn mean(&self, x: usize, keep: bool) -> Result<Made, String> {
        let [h, w] = self.sides(x)?;
        if h * w > 1 << 20 {
            return Err(format!("a mean over {h} by {w} pixels"));
        }
        let c = self.net.values[x].picture[0];
        let shape = if keep { vec![1, c, 1, 1] } else { vec![1, c] };
        Ok(Made { kind: Kind::Mean(Windows::whole(h, w), false), inputs: vec![x], shape, picture: [c, 1, 1] })
    }

    /// `ReduceMean` over height and width.
    pub(super) fn reduce_mean(&self, node: &NodeProto, x: usize) -> Result<Made, String> {
        let axes = match node.input.get(1).filter(|i| !i.is_empty()) {
            Some(name) => self.file.longs(name),
            None => super::file::ints(node, "axes"),
        };
        self.mean_over(node, x, axes)
    }

    /// Mean over height and width, which `axes` have to be.
    pub(super) fn mean_over(&self, node: &NodeProto, x: usize, axes: Option<Vec<i64>>) -> Result<Made, String> {
        let mut axes: Vec<i64> = axes.unwrap_or_default().into_iter().map(|a| if a < 0 { a + 4 } else { a }).collect();
        axes.sort_unstable();
        if axes != [2, 3] {
            return Err(format!("a mean over axes {axes:?}, height and width are run"));
        }
        self.mean(x, int(node, "keepdims", 1) != 0)
    }

    /// Channels of several values one after the other, all brought to `quant` first.
    pub(super) fn concat(&mut self, n: usize, axis: i64, parts: &[usize], quant: Quant) -> Result<Made, String> {
        let first = self.net.values[*parts.first().ok_or("nothing to concatenate")?].clone();
        let [_, h, w] = first.picture;
        let rank = first.shape.len() as i64;
        let mut channels = 0usize;
        for p in parts {
            let v = &self.net.values[*p];
            let same = v.picture[1..] == [h, w] && v.shape.len() == first.shape.len() && picture(&v.shape) == Some(v.picture);
            if !same || v.constant.is_some() || (if axis < 0 { axis + rank } else { axis }) != 1 {
                return Err(format!("tensors of {:?} and {:?} joined along axis {axis}", first.shape, v.shape));
            }
            channels += v.picture[0];
        }
        let picture = [channels, h, w];
        if !sane(picture) {
            return Err(format!("an output of {picture:?}"));
        }
        let inputs = parts.iter().map(|p| self.requantised(n, *p, quant)).collect();
        let shape = if rank == 2 { vec![1, channels] } else { vec![1, channels, h, w] };
        Ok(Made { kind: Kind::Concat, inputs, shape, picture })
    }

    /// The same values on another scale.
    fn requantised(&mut self, n: usize, x: usize, quant: Quant) -> usize {
        let v = self.net.values[x].clone();
        if v.quant.scale == quant.scale && v.quant.zero == quant.zero {
            return x;
        }
        let table = Box::new(std::array::from_fn(|b| quant.byte(v.quant.value(b as u8))));
        let out = self.value(quant, v.shape, v.picture);
        self.push(n, Kind::Lookup(table), vec![x], out, [0, 255]);
        out
    }

    /// A function of each byte of `x`.
    pub(super) fn lookup(&self, x: usize, table: Box<[u8; 256]>) -> Made {
        let v = &self.net.values[x];
        Made { kind: Kind::Lookup(table), inputs: vec![x], shape: v.shape.clone(), picture: v.picture }
    }

    /// A border of one value.
    pub(super) fn pad(&self, node: &NodeProto, x: usize) -> Result<Made, String> {
        let [h, w] = self.sides(x)?;
        let mode = super::file::attribute(node, "mode").map_or("constant".into(), |a| String::from_utf8_lossy(&a.s).into_owned());
        let pads = match node.input.get(1).filter(|i| !i.is_empty()) {
            Some(name) => self.file.longs(name),
            None => super::file::ints(node, "pads"),
        };
        let pads =
            pads.filter(|p| p.len() == 8 && p.iter().all(|v| (0..=1024).contains(v)) && [0, 1, 4, 5].iter().all(|n| p[*n] == 0));
        let pads = pads.filter(|_| mode == "constant" && node.input.get(3).is_none_or(|a| a.is_empty()));
        let pads = pads.ok_or("a border that is not a constant one of height and width")?;
        let value = match node.input.get(2).filter(|i| !i.is_empty()) {
            Some(name) => self.scalar(name).ok_or("a border's value that is not one number")?,
            None => float(node, "value", 0.0),
        };
        let quant = self.net.values[x].quant;
        let byte = quant.byte(value);
        if quant.value(byte) != value {
            return Err(format!("a border of {value}, which no byte stands for"));
        }
        let side = |n: usize| pads[n] as usize;
        let picture = [self.net.values[x].picture[0], h + side(2) + side(6), w + side(3) + side(7)];
        if !sane(picture) {
            return Err(format!("an output of {picture:?}"));
        }
        let shape = vec![1, picture[0], picture[1], picture[2]];
        Ok(Made { kind: Kind::Pad([side(2), side(3), side(6), side(7)], byte), inputs: vec![x], shape, picture })
    }

    /// A value by another shape.
    pub(super) fn reshape(&mut self, n: usize, x: usize) -> Result<usize, String> {
        let v = self.net.values[x].clone();
        let shape = reshaped(self.file, self.file.node(n), &v.shape)?;
        // A row stays what it is behind the names of its sides; a picture stays a picture.
        let moved = match picture(&shape) {
            Some(new) if new == v.picture || shape.len() == 2 => v.picture,
            Some([c, h, w]) if v.picture[1..] == [1, 1] && c * h * w == v.len() && [h, w] == [1, 1] => v.picture,
            _ if shape.len() != 4 && shape.first() == Some(&1) => v.picture,
            _ => return Err(format!("{:?} as {shape:?}", v.shape)),
        };
        if v.len() > MAX_BYTES || v.constant.is_some() {
            return Err("a constant by another shape".into());
        }
        let out = self.value(v.quant, shape, moved);
        self.push(n, Kind::Reshape, vec![x], out, [0, 255]);
        Ok(out)
    }

    /// The operator's output as a value of the given scale, its range clipped to `low` and `high` (real numbers), behind
    /// `shapes` (nodes of the file, in their order).
    pub(super) fn finish(
        &mut self,
        n: usize,
        made: Made,
        quant: Quant,
        (low, high): (f32, f32),
        shapes: &[usize],
        name: &str,
    ) -> Result<(), String> {
        if low.is_nan() || high.is_nan() {
            return Err("a range that is no number".into());
        }
        let range = [quant.byte(low).min(quant.byte(high)), quant.byte(high)];
        let from = self.net.values[made.inputs[0]].quant;
        let stays = matches!(made.kind, Kind::MaxPool(_) | Kind::Pad(..));
        let same = from.scale == quant.scale && from.zero == quant.zero;
        let clips = range != [0, 255];
        let has_range = matches!(made.kind, Kind::Conv(_) | Kind::Add | Kind::Mul | Kind::Mean(..));
        let mut made = made;
        if let Kind::Lookup(table) = &mut made.kind {
            table.iter_mut().for_each(|b| *b = (*b).clamp(range[0], range[1]));
        } else if (stays && !same) || (clips && !has_range) {
            // The operator on its own scale first, then a table.
            let between = if stays { from } else { quant };
            let x = self.value(between, made.shape, made.picture);
            self.push(n, made.kind, made.inputs, x, [0, 255]);
            let table = Box::new(std::array::from_fn(|b| quant.byte(between.value(b as u8)).clamp(range[0], range[1])));
            made = self.lookup(x, table);
        }
        let range = if has_range { range } else { [0, 255] };
        let mut x = self.value(quant, made.shape, made.picture);
        self.push(n, made.kind, made.inputs, x, range);
        for shape in shapes {
            x = self.reshape(*shape, x)?;
        }
        self.net.by_name.insert(name.into(), x);
        Ok(())
    }
}
