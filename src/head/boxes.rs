//! A head's own box: where the thing is, as a second output of its graph that the contract names (`head.boxes`).
//!
//! Four numbers, left, top, width and height, in fractions of the encoder's picture. What sticks out of the picture is cut off; numbers that
//! are not finite, or a box of which nothing is left, are no box. It replaces the one that is found without a head (`place.rs`).
//!
//! Our own cells run such a head where classes and box share everything up to the last recurrent layer; tract runs the others.

use super::read::{self, Link, Order};
use crate::onnx::only;
use crate::shaper::Region;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::bail;

/// Of four numbers the part that lies in the picture; `None` where there is none.
///
/// Less than a thousandth of a side is none: a sentence could not say it.
pub fn region([x, y, w, h]: [f32; 4]) -> Option<Region> {
    if ![x, y, w, h].iter().all(|v| v.is_finite()) {
        return None;
    }
    let (left, top) = (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
    let (w, h) = ((x + w).min(1.0) - left, (y + h).min(1.0) - top);
    (w >= 0.001 && h >= 0.001).then_some(Region { x: left, y: top, w, h })
}

/// Is this second output a box?
pub(super) fn check(fact: &TypedFact) -> TractResult<()> {
    let fits = fact.shape.as_concrete().is_some_and(|s| s.iter().filter(|d| **d != 1).copied().eq([4]));
    if !fits || fact.datum_type != f32::datum_type() {
        let shape: Vec<String> = fact.shape.iter().map(ToString::to_string).collect();
        bail!("head.boxes is {:?} [{}], expected F32 [1, 4]: left, top, width and height", fact.datum_type, shape.join(", "));
    }
    Ok(())
}

/// The chain to the classes, and what leads from the last recurrent layer to the box.
///
/// # Errors
/// Why they are no such chains, in a few words.
pub(super) fn chains(proto: &ModelProto, window: usize, features: usize) -> Result<(Vec<Link>, Vec<Link>), String> {
    let read = |n: usize| read::chain(&only(proto, n), window, features, Order::BatchFirst);
    let (classes, mut boxes) = (read(0)?, read(1).map_err(|why| format!("the box: {why}"))?);
    let cell = |l: &Link| matches!(l, Link::Layer(_));
    let (Some(last), Some(other)) = (classes.iter().rposition(cell), boxes.iter().rposition(cell)) else {
        return Err("no LSTM, GRU or RNN".into());
    };
    if last != other || classes[..=last] != boxes[..=last] {
        return Err("a box that does not come from the classes' last recurrent layer".into());
    }
    Ok((classes, boxes.split_off(last + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sticks_out_is_cut_off_and_what_is_no_box_is_none() {
        let found = region([-0.25, 0.5, 0.5, 1.0]).expect("a part of it is in the picture");
        assert_eq!(found, Region { x: 0.0, y: 0.5, w: 0.25, h: 0.5 });
        assert_eq!(region([0.25, 0.25, 0.5, 0.5]), Some(Region { x: 0.25, y: 0.25, w: 0.5, h: 0.5 }));
        for none in [
            [f32::NAN, 0.0, 0.5, 0.5],
            [0.0, 0.0, f32::INFINITY, 0.5],
            [0.5, 0.5, -0.2, 0.2],
            [0.5, 0.5, 0.0, 0.2],
            [1.5, 0.0, 0.5, 0.5],
            [0.0, -1.0, 0.5, 0.5],
            [f32::MAX, 0.0, f32::MAX, 1.0],
        ] {
            assert_eq!(region(none), None, "{none:?}");
        }
    }
}
