//! Shapes: what windows make of a picture, and which changes of shape leave all bytes where they are.

use super::file::{File, attribute, int, ints};
use super::{Reader, Windows};
use tract_onnx::pb::NodeProto;

/// Longest side and most bytes of one tensor; far above any camera's network, far below what overflows.
const MAX_SIDE: usize = 1 << 16;
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Channels, height and width of a shape; `None` where it is no batch of one, no picture and no row.
pub(super) fn picture(shape: &[usize]) -> Option<[usize; 3]> {
    let found = match shape {
        [1, c] => [*c, 1, 1],
        [1, c, h, w] => [*c, *h, *w],
        _ => return None,
    };
    sane(found).then_some(found)
}

/// Not empty and not absurd.
pub(super) fn sane(picture: [usize; 3]) -> bool {
    let product = picture.iter().try_fold(1usize, |all, d| all.checked_mul(*d));
    picture.iter().all(|d| (1..=MAX_SIDE * 16).contains(d)) && product.is_some_and(|p| p <= MAX_BYTES)
}

/// Windows as the attributes of a convolution or pool say, over a picture of `[height, width]`.
pub(super) fn windows(node: &NodeProto, kernel: [usize; 2], picture: [usize; 2]) -> Result<Windows, String> {
    let pair = |name: &str| -> Result<[usize; 2], String> {
        let Some(found) = ints(node, name).filter(|f| !f.is_empty()) else { return Ok([1, 1]) };
        let sides: Option<Vec<usize>> =
            found.iter().map(|v| usize::try_from(*v).ok().filter(|v| (1..=MAX_SIDE).contains(v))).collect();
        match sides.as_deref() {
            Some([y, x]) => Ok([*y, *x]),
            _ => Err(format!("{name} are {found:?}, two numbers above 0 are run")),
        }
    };
    let (stride, dilation) = (pair("strides")?, pair("dilations")?);
    if let Some(found) = ints(node, "kernel_shape").filter(|f| !f.is_empty())
        && found.iter().map(|v| usize::try_from(*v).ok()).ne(kernel.iter().map(|v| Some(*v)))
    {
        return Err(format!("kernel_shape is {found:?}, the weights are {kernel:?}"));
    }
    let auto = attribute(node, "auto_pad").map_or(String::new(), |a| String::from_utf8_lossy(&a.s).into_owned());
    let mut pad = [0; 4];
    match auto.as_str() {
        "" | "NOTSET" => {
            let found = ints(node, "pads").filter(|f| !f.is_empty()).unwrap_or_else(|| vec![0; 4]);
            let sides: Option<Vec<usize>> = found.iter().map(|v| usize::try_from(*v).ok().filter(|v| *v <= 1024)).collect();
            match sides.as_deref() {
                Some([a, b, c, d]) => pad = [*a, *b, *c, *d],
                _ => return Err(format!("pads are {found:?}, four numbers from 0 to 1024 are run")),
            }
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for axis in 0..2 {
                let out = picture[axis].div_ceil(stride[axis]);
                let reach = (out - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
                let all = reach.saturating_sub(picture[axis]);
                let small = all / 2;
                (pad[axis], pad[axis + 2]) = if auto == "SAME_UPPER" { (small, all - small) } else { (all - small, small) };
            }
        }
        other => return Err(format!("auto_pad is {other:?}")),
    }
    Ok(Windows { kernel, stride, dilation, pad })
}

impl Windows {
    /// Windows that just fit the whole picture.
    pub fn whole(height: usize, width: usize) -> Self {
        Self { kernel: [height, width], stride: [1, 1], dilation: [1, 1], pad: [0; 4] }
    }

    /// Height and width of the output over a picture of `[height, width]`; `ceil` keeps a last window that sticks out.
    pub(super) fn output(&self, picture: [usize; 2], ceil: bool) -> Result<[usize; 2], String> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let (k, s, d) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            let room = picture[axis] + self.pad[axis] + self.pad[axis + 2];
            let reach = (k.max(1) - 1).checked_mul(d).and_then(|r| r.checked_add(1)).filter(|r| k > 0 && *r <= room);
            let Some(reach) = reach else {
                return Err(format!("a window of {:?} in a picture of {picture:?} with pads {:?}", self.kernel, self.pad));
            };
            out[axis] = (room - reach) / s + 1;
            if ceil && !(room - reach).is_multiple_of(s) && out[axis] * s < picture[axis] + self.pad[axis] {
                out[axis] += 1;
            }
        }
        Ok(out)
    }
}

/// Does the node change nothing but the shape?
pub fn only_reshapes(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Identity" | "Dropout")
}

/// The shape behind such a node, as long as no byte moves.
///
/// # Errors
/// Why not.
pub fn reshaped(file: &File<'_>, node: &NodeProto, shape: &[usize]) -> Result<Vec<usize>, String> {
    let rank = shape.len() as i64;
    let count: usize = shape.iter().product();
    let wrong = |what: &str| format!("{} of {shape:?}: {what}", node.op_type);
    let axes = || -> Result<Vec<i64>, String> {
        let found = match node.input.get(1).filter(|i| !i.is_empty()) {
            Some(name) => file.longs(name).ok_or_else(|| wrong("axes are no constant"))?,
            None => ints(node, "axes").unwrap_or_default(),
        };
        if found.len() > 8 { Err(wrong("more than 8 axes")) } else { Ok(found) }
    };
    let place = |axis: i64, rank: i64| -> Result<usize, String> {
        let at = if axis < 0 { axis + rank } else { axis };
        usize::try_from(at).ok().filter(|a| (*a as i64) < rank).ok_or_else(|| wrong(&format!("axis {axis}")))
    };
    match node.op_type.as_str() {
        "Identity" | "Dropout" => Ok(shape.to_vec()),
        "Flatten" => {
            let axis = int(node, "axis", 1);
            let axis = if axis == rank { shape.len() } else { place(axis, rank)? };
            Ok(vec![shape[..axis].iter().product(), shape[axis..].iter().product()])
        }
        "Reshape" => {
            let wanted = node.input.get(1).and_then(|i| file.longs(i)).or_else(|| ints(node, "shape"));
            let wanted = wanted.filter(|w| w.len() <= 8).ok_or_else(|| wrong("the new shape is no constant"))?;
            let mut out = vec![];
            for (n, d) in wanted.iter().enumerate() {
                out.push(match d {
                    0 if int(node, "allowzero", 0) == 0 => *shape.get(n).ok_or_else(|| wrong("a 0 that copies nothing"))?,
                    -1 => 0,
                    d => usize::try_from(*d).map_err(|_| wrong("a negative side"))?,
                });
            }
            if wanted.iter().filter(|d| **d == -1).count() == 1 {
                let known =
                    wanted.iter().zip(&out).filter(|(w, _)| **w != -1).try_fold(1usize, |all, (_, d)| all.checked_mul(*d));
                let open = known
                    .filter(|k| *k > 0 && count.is_multiple_of(*k))
                    .map(|k| count / k)
                    .ok_or_else(|| wrong("does not fit"))?;
                wanted.iter().zip(&mut out).filter(|(w, _)| **w == -1).for_each(|(_, d)| *d = open);
            }
            let product = out.iter().try_fold(1usize, |all, d| all.checked_mul(*d));
            if product == Some(count) { Ok(out) } else { Err(wrong(&format!("does not fit {wanted:?}"))) }
        }
        "Squeeze" => {
            let axes: Vec<usize> = axes()?.into_iter().map(|a| place(a, rank)).collect::<Result<_, _>>()?;
            let drop = |n: usize| if axes.is_empty() { shape[n] == 1 } else { axes.contains(&n) };
            if axes.iter().any(|a| shape[*a] != 1) {
                return Err(wrong("a side that is not 1"));
            }
            Ok((0..shape.len()).filter(|n| !drop(*n)).map(|n| shape[n]).collect())
        }
        "Unsqueeze" => {
            let new = axes()?;
            let after = rank + new.len() as i64;
            let new: Vec<usize> = new.into_iter().map(|a| place(a, after)).collect::<Result<_, _>>()?;
            let mut old = shape.iter();
            let out: Vec<usize> =
                (0..after as usize).filter_map(|n| if new.contains(&n) { Some(1) } else { old.next().copied() }).collect();
            if out.len() as i64 == after { Ok(out) } else { Err(wrong("an axis twice")) }
        }
        "Transpose" => {
            let perm = ints(node, "perm").unwrap_or_else(|| (0..rank).rev().collect());
            let perm: Vec<usize> = perm.into_iter().map(|a| place(a, rank)).collect::<Result<_, _>>()?;
            let mut seen = perm.clone();
            seen.sort_unstable();
            let moved: Vec<usize> = perm.iter().copied().filter(|n| shape[*n] != 1).collect();
            if seen != (0..shape.len()).collect::<Vec<_>>() || !moved.is_sorted() {
                return Err(wrong("bytes would have to move"));
            }
            Ok(perm.iter().map(|n| shape[*n]).collect())
        }
        other => Err(wrong(other)),
    }
}

impl Reader<'_> {
    /// `[height, width]` of a value that is a picture to the graph as well.
    pub(super) fn sides(&self, value: usize) -> Result<[usize; 2], String> {
        let v = &self.net.values[value];
        match (v.shape.as_slice(), v.picture) {
            ([1, a, b, d], [c, h, w]) if [*a, *b, *d] == [c, h, w] => Ok([h, w]),
            _ => Err(format!("a tensor of shape {:?} where pictures [1, C, H, W] are run", v.shape)),
        }
    }
}
