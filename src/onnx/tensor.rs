//! The numbers of an ONNX tensor, which lie in its raw bytes or in a list of their own, and the attributes of a node.
//!
//! `onnx/precheck.rs` has seen to it that there are as many numbers as the shape says.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// Numbers of an f32 tensor; `None` for any other.
pub fn floats(t: &TensorProto) -> Option<Vec<f32>> {
    match DataType::try_from(t.data_type).ok()? {
        DataType::Float if t.raw_data.is_empty() => Some(t.float_data.clone()),
        DataType::Float => Some(t.raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        _ => None,
    }
}

/// Numbers of an i64 or i32 tensor, as shapes and axes are; `None` for any other.
pub fn longs(t: &TensorProto) -> Option<Vec<i64>> {
    match DataType::try_from(t.data_type).ok()? {
        DataType::Int64 if t.raw_data.is_empty() => Some(t.int64_data.clone()),
        DataType::Int64 => Some(t.raw_data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        DataType::Int32 => integers(t).map(|(v, _)| v.into_iter().map(i64::from).collect()),
        _ => None,
    }
}

/// Numbers of an i8, u8 or i32 tensor, and which of them it is; `None` for any other, and where a number does not fit its type.
pub fn integers(t: &TensorProto) -> Option<(Vec<i32>, DataType)> {
    let kind = DataType::try_from(t.data_type).ok()?;
    let values = match kind {
        DataType::Int8 | DataType::Uint8 | DataType::Int32 if t.raw_data.is_empty() => t.int32_data.clone(),
        DataType::Int8 => t.raw_data.iter().map(|b| i32::from(b.cast_signed())).collect(),
        DataType::Uint8 => t.raw_data.iter().map(|b| i32::from(*b)).collect(),
        DataType::Int32 => t.raw_data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect(),
        _ => return None,
    };
    // The field for short integers can hold any.
    let fits = match kind {
        DataType::Int8 => values.iter().all(|v| (-128..128).contains(v)),
        DataType::Uint8 => values.iter().all(|v| (0..256).contains(v)),
        _ => true,
    };
    fits.then_some((values, kind))
}

/// An attribute of a node.
pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// An attribute that is a list of integers.
pub fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    attribute(node, name).map(|a| a.ints.clone())
}
