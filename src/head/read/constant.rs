//! Tensors whose numbers are known when a head is read: weights, and the shapes that exporters compute at run time.
//!
//! Only what heads need is folded here. `onnx::parse` has checked that every tensor's data has the length its shape says.

use super::Read;
pub(super) use crate::onnx::tensor::ints;
use crate::onnx::tensor::{self, attribute};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{NodeProto, TensorProto};

/// Most numbers that are joined here: they are shapes and places along an axis, which have a handful.
const MAX_SHAPE: usize = 4096;

/// A tensor with its numbers.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// Its shape; empty for a single number.
    pub(super) dims: Vec<usize>,
    numbers: Numbers,
}

#[derive(Clone, Debug)]
enum Numbers {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// s8 as they lie in the file.
    Bytes(Vec<i8>),
    /// s8 behind `DequantizeLinear`, with zero points of 0: a scale for each of `scale.len()` parts of equal length.
    Scaled(Vec<i8>, Vec<f32>),
}

impl Array {
    /// Reads a tensor of a type that heads are made of.
    pub(super) fn read(t: &TensorProto) -> Read<Self> {
        let dims: Option<Vec<usize>> = t.dims.iter().map(|d| usize::try_from(*d).ok()).collect();
        let dims = dims.ok_or_else(|| format!("{} has a negative size", t.name))?;
        let raw = &t.raw_data;
        let unread = || format!("{} is of data type {}", t.name, t.data_type);
        let numbers = match DataType::try_from(t.data_type) {
            Ok(DataType::Float) => Numbers::Floats(tensor::floats(t).ok_or_else(unread)?),
            Ok(DataType::Int64 | DataType::Int32) => Numbers::Ints(tensor::longs(t).ok_or_else(unread)?),
            Ok(DataType::Int8) if raw.is_empty() => {
                let bytes: Option<Vec<i8>> = t.int32_data.iter().map(|v| i8::try_from(*v).ok()).collect();
                Numbers::Bytes(bytes.ok_or_else(|| format!("{} holds numbers that are no s8", t.name))?)
            }
            Ok(DataType::Int8) => Numbers::Bytes(raw.iter().map(|b| b.cast_signed()).collect()),
            _ => return Err(unread()),
        };
        let array = Self { dims, numbers };
        if array.len() != array.dims.iter().product::<usize>() {
            return Err(format!("{} has another length than its shape", t.name));
        }
        Ok(array)
    }

    /// A list of integers.
    pub(super) fn numbers(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], numbers: Numbers::Ints(values) }
    }

    fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Floats(v) => v.len(),
            Numbers::Ints(v) => v.len(),
            Numbers::Bytes(v) | Numbers::Scaled(v, _) => v.len(),
        }
    }

    /// Every number is 0.
    pub(super) fn is_zero(&self) -> bool {
        match &self.numbers {
            Numbers::Floats(v) => v.iter().all(|v| *v == 0.0),
            Numbers::Ints(v) => v.iter().all(|v| *v == 0),
            Numbers::Bytes(v) | Numbers::Scaled(v, _) => v.iter().all(|v| *v == 0),
        }
    }

    /// As floats; `None` for integers.
    pub(super) fn floats(&self) -> Option<Vec<f32>> {
        match &self.numbers {
            Numbers::Floats(v) => Some(v.clone()),
            Numbers::Scaled(v, scale) => {
                let part = (v.len() / scale.len().max(1)).max(1);
                Some(v.chunks(part).zip(scale).flat_map(|(v, s)| v.iter().map(move |v| f32::from(*v) * s)).collect())
            }
            _ => None,
        }
    }

    /// As integers; `None` for anything else.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        if let Numbers::Ints(v) = &self.numbers { Some(v.clone()) } else { None }
    }

    /// Its only number, an integer.
    pub(super) fn only(&self) -> Option<i64> {
        if let Numbers::Ints(v) = &self.numbers { <[i64; 1]>::try_from(v.as_slice()).ok().map(|[v]| v) } else { None }
    }

    /// Has it no axis?
    pub(super) fn is_scalar(&self) -> bool {
        self.dims.is_empty()
    }

    /// The s8 values and one scale for each of `rows`, where it is held so.
    pub(super) fn rows_of_bytes(&self, rows: usize) -> Option<(Vec<i8>, Vec<f32>)> {
        let Numbers::Scaled(bytes, scale) = &self.numbers else { return None };
        let scale = match scale.len() {
            1 => vec![scale[0]; rows],
            n if n == rows => scale.clone(),
            _ => return None,
        };
        Some((bytes.clone(), scale))
    }
}

pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|a| a.i)
}

pub(super) fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|a| a.f)
}

/// A list that older opsets hold in an attribute and newer ones in the second input.
pub(super) fn list<'a>(node: &NodeProto, name: &str, second: impl FnOnce() -> Option<&'a Array>) -> Read<Option<Vec<i64>>> {
    if let Some(list) = ints(node, name) {
        return Ok(Some(list));
    }
    if node.input.get(1).is_none_or(String::is_empty) {
        return Ok(None);
    }
    second()
        .and_then(Array::ints)
        .map(Some)
        .ok_or_else(|| format!("{} {}: {name} that are not constant", node.op_type, node.name))
}

/// Places of an axis of `length`, counted from the front; `None` if one lies outside.
pub(super) fn within(places: &[i64], length: usize) -> Option<Vec<usize>> {
    let length = i64::try_from(length).ok()?;
    let front = |p: &i64| (-length..length).contains(p).then(|| usize::try_from(p.rem_euclid(length)).ok()).flatten();
    places.iter().map(front).collect()
}

/// From and to along every axis of a `Slice` in steps of 1.
pub(super) fn cuts(
    dims: &[i64],
    starts: &[i64],
    ends: &[i64],
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
) -> Option<Vec<(i64, i64)>> {
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    if steps.is_some_and(|s| s.iter().any(|s| *s != 1)) || starts.len() != axes.len() || ends.len() != axes.len() {
        return None;
    }
    let mut cuts: Vec<(i64, i64)> = dims.iter().map(|d| (0, *d)).collect();
    for ((axis, start), end) in within(&axes, dims.len())?.into_iter().zip(starts).zip(ends) {
        let length = dims[axis];
        let front = |p: i64| if p < 0 { p.saturating_add(length).max(0) } else { p.min(length) };
        cuts[axis] = (front(*start), front(*end));
        if cuts[axis].0 >= cuts[axis].1 {
            return None;
        }
    }
    Some(cuts)
}

/// What a node makes of constants.
pub(super) fn fold(node: &NodeProto, inputs: &[&Array]) -> Read<Array> {
    let unknown = || format!("{} {}", node.op_type, node.name);
    let first = *inputs.first().ok_or_else(unknown)?;
    let count = |values: Vec<i64>, scalar: bool| Array {
        dims: if scalar { vec![] } else { vec![values.len()] },
        numbers: Numbers::Ints(values),
    };
    Ok(match node.op_type.as_str() {
        "Identity" => first.clone(),
        "DequantizeLinear" => dequantised(node, inputs).ok_or_else(unknown)?,
        "Cast" if int(node, "to") == Some(DataType::Int64 as i64) => count(first.ints().ok_or_else(unknown)?, first.is_scalar()),
        "Gather" if int(node, "axis").unwrap_or(0) == 0 && first.dims.len() == 1 => {
            let values = first.ints().ok_or_else(unknown)?;
            let at = inputs.get(1).ok_or_else(unknown)?;
            let places = at.ints().and_then(|at| within(&at, values.len())).ok_or_else(unknown)?;
            count(places.into_iter().map(|p| values[p]).collect(), at.is_scalar())
        }
        "Unsqueeze" if first.is_scalar() => count(first.ints().ok_or_else(unknown)?, false),
        "Squeeze" if first.dims == [1] => count(first.ints().ok_or_else(unknown)?, true),
        // Forty of them, each of the one before twice, would be a terabyte.
        "Concat" if inputs.iter().all(|i| i.dims.len() == 1) && inputs.iter().map(|i| i.len()).sum::<usize>() <= MAX_SHAPE => {
            let all: Option<Vec<Vec<i64>>> = inputs.iter().map(|i| i.ints()).collect();
            count(all.ok_or_else(unknown)?.concat(), false)
        }
        "Slice" if first.dims.len() == 1 => {
            let values = first.ints().ok_or_else(unknown)?;
            let list = |n: usize| inputs.get(n).and_then(|i| i.ints());
            let (starts, ends) = (list(1).ok_or_else(unknown)?, list(2).ok_or_else(unknown)?);
            let cut = cuts(&[values.len() as i64], &starts, &ends, list(3), list(4)).ok_or_else(unknown)?[0];
            count(values[cut.0 as usize..cut.1 as usize].to_vec(), false)
        }
        _ => return Err(unknown()),
    })
}

/// s8 weights with one scale, or one a row along an axis before which every size is 1.
fn dequantised(node: &NodeProto, inputs: &[&Array]) -> Option<Array> {
    let (Numbers::Bytes(bytes), scale) = (&inputs.first()?.numbers, inputs.get(1)?.floats()?) else { return None };
    let dims = inputs[0].dims.clone();
    if inputs.get(2).is_some_and(|z| !z.is_zero()) || attribute(node, "block_size").is_some_and(|b| b.i != 0) {
        return None;
    }
    if scale.iter().any(|s| !s.is_finite()) {
        return None;
    }
    if scale.len() != 1 {
        let axis = within(&[int(node, "axis").unwrap_or(1)], dims.len())?[0];
        if dims[..axis].iter().any(|d| *d != 1) || dims[axis] != scale.len() {
            return None;
        }
    }
    Some(Array { dims, numbers: Numbers::Scaled(bytes.clone(), scale) })
}
