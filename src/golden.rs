//! The golden vectors of a bundle: what the training framework computed, held against what we compute.
//!
//! Run at every start and by `lookout check`. A build or a processor that computes something else is found here, before
//! it says anything wrong on a wire.

use crate::bundle::{Bundle, BundleError, one_line, plain};
use crate::encoder::Encoder;
use crate::head::Head;
use crate::place::PLANES;
use ndarray::{ArrayD, Axis};
use ndarray_npy::{ReadNpyExt, ReadableElement};

/// Largest deviations found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Of a feature; `None` without an encoder or its vectors.
    pub features: Option<f32>,
    /// Of a logit.
    pub logits: f32,
    /// Of an edge of a box, in fractions of the picture; `None` where the head has none.
    pub boxes: Option<f32>,
    /// Of a number of the encoder's map; `None` where there is none, or it was not asked for.
    pub map: Option<f32>,
    /// Do all windows have the same best class as in the training framework?
    pub top1_equal: bool,
    /// Pictures and windows compared.
    pub vectors: usize,
}

/// Runs the golden vectors; `None` where the bundle has none.
///
/// # Errors
/// A file that does not fit the contract, or a deviation above the bundle's tolerance: one sentence with both numbers.
pub fn run(bundle: &Bundle, encoder: Option<&mut Encoder>, head: &mut Head) -> Result<Option<Deviation>, BundleError> {
    // The first run of networks that nobody has seen run yet.
    crate::onnx::guarded(bundle, "golden vectors", || compare(bundle, encoder, head))
}

fn compare(bundle: &Bundle, encoder: Option<&mut Encoder>, head: &mut Head) -> Result<Option<Deviation>, BundleError> {
    let Some(golden) = &bundle.contract.golden else { return Ok(None) };
    let mut found = Deviation { top1_equal: true, ..Deviation::default() };
    if let (Some(input), Some(frames), Some(features), Some(encoder)) =
        (&bundle.contract.input, &golden.frames, &golden.features, encoder)
    {
        let mut shape = input.shape();
        shape[0] = 0;
        let levels: ArrayD<u8> = read(bundle, frames, &shape)?;
        let wanted: ArrayD<f32> = read(bundle, features, &[levels.len_of(Axis(0)), input.features])?;
        let maps = golden
            .map
            .as_ref()
            .zip(encoder.map().map(|m| m.size))
            .map(|(name, (wide, high))| read::<f32>(bundle, name, &[levels.len_of(Axis(0)), PLANES, high, wide]));
        let maps = maps.transpose()?;
        let mut maps = maps.iter().flat_map(|m| m.outer_iter());
        let mut worst = 0.0f32;
        for (levels, wanted) in levels.outer_iter().zip(wanted.outer_iter()) {
            let levels: Vec<u8> = levels.iter().copied().collect();
            let got = encoder.run_clip(&levels).map_err(|e| bundle.refuse(e.to_string()))?;
            worst = worst.max(apart(got, &wanted));
            found.vectors += 1;
            if let (Some(got), Some(wanted)) = (encoder.map(), maps.next()) {
                found.map = Some(found.map.unwrap_or(0.0).max(apart(got.values, &wanted)));
            }
        }
        encoder.reset();
        within(bundle, "maps", found.map.unwrap_or(0.0), golden.map_tolerance)?;
        within(bundle, "features", worst, golden.features_tolerance)?;
        found.features = Some(worst);
    }
    let windows: ArrayD<f32> = read(bundle, &golden.windows, &[0, bundle.contract.time.window, bundle.features()])?;
    let logits: ArrayD<f32> = read(bundle, &golden.logits, &[windows.len_of(Axis(0)), bundle.contract.head.labels.len()])?;
    let places: Option<ArrayD<f32>> =
        golden.boxes.as_ref().map(|name| read(bundle, name, &[windows.len_of(Axis(0)), 4])).transpose()?;
    let mut places = places.iter().flat_map(|p| p.outer_iter());
    for (window, wanted) in windows.outer_iter().zip(logits.outer_iter()) {
        let window: Vec<f32> = window.iter().copied().collect();
        let got = head.run_window(&window).map_err(|e| bundle.refuse(e.to_string()))?;
        found.logits = found.logits.max(apart(got, &wanted));
        found.top1_equal &= best(got) == best(&wanted);
        found.vectors += 1;
        if let (Some(got), Some(wanted)) = (head.place(), places.next()) {
            found.boxes = Some(found.boxes.unwrap_or(0.0).max(apart(&got, &wanted)));
        }
    }
    within(bundle, "boxes", found.boxes.unwrap_or(0.0), golden.boxes_tolerance)?;
    within(bundle, "logits", found.logits, golden.logits_tolerance)?;
    Ok(Some(found))
}

/// The largest difference of two rows of one length; infinite where one is not a number, which is the worst there is.
pub(crate) fn apart<'a>(a: impl IntoIterator<Item = &'a f32>, b: impl IntoIterator<Item = &'a f32>) -> f32 {
    let differences = a.into_iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |worst, d| if d.is_nan() { f32::INFINITY } else { worst.max(d) })
}

/// Where the largest number is; `None` where there is none.
pub(crate) fn best<'a>(values: impl IntoIterator<Item = &'a f32>) -> Option<usize> {
    values.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(n, _)| n)
}

fn within(bundle: &Bundle, what: &str, found: f32, allowed: f32) -> Result<(), BundleError> {
    if found <= allowed {
        return Ok(());
    }
    // Random weights give features of a millionth: they have digits too.
    let number = |v: f32| if v != 0.0 && v < 1e-5 { format!("{v:.1e}") } else { format!("{v:.6}") };
    let (found, allowed) = (number(found), number(allowed));
    Err(bundle.refuse(format!(
        "golden {what} deviate by {found}, at most {allowed} is accepted: this build or processor computes something else"
    )))
}

/// A `.npy` of the bundle. `shape` is what is expected; a first 0 stands for any number of vectors.
fn read<T: ReadableElement>(bundle: &Bundle, name: &str, shape: &[usize]) -> Result<ArrayD<T>, BundleError> {
    let array = array::<T>(bundle.file(name).unwrap_or_default()).map_err(|e| bundle.refuse(format!("{name}: {e}")))?;
    let fits = array.ndim() == shape.len() && array.shape().iter().zip(shape).skip(1).all(|(a, b)| a == b);
    let count = array.shape().first().copied().unwrap_or(0);
    if !fits || count == 0 || (shape[0] != 0 && shape[0] != count) {
        return Err(
            bundle.refuse(format!("{name} has shape {:?}, expected {shape:?} (a first 0 is any number above 0)", array.shape()))
        );
    }
    Ok(array)
}

/// Longest header of a `.npy`: numpy writes 128 bytes.
const MAX_HEADER: usize = 1024;

/// A `.npy` as it lies in memory. Its header is looked at first, because the reader believes it: it would ask for as much
/// memory as the shape says, and follow nested brackets as deep as they go.
///
/// # Errors
/// One sentence, without the file's name.
pub fn array<T: ReadableElement>(bytes: &[u8]) -> Result<ArrayD<T>, String> {
    let short = || format!("{} bytes found that are no .npy file", bytes.len());
    let (length, from) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        _ => return Err(short()),
    };
    if length > MAX_HEADER {
        return Err(format!("its header has {length} bytes, at most {MAX_HEADER} are read"));
    }
    let header = bytes.get(from..from + length).and_then(|h| std::str::from_utf8(h).ok()).ok_or_else(short)?;
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let (shape, rest) = shape.ok_or("its header has no shape")?;
    if rest.contains(['(', '[', '{']) || header.matches(['(', '[', '{']).count() != 2 {
        return Err("its header has brackets inside brackets, expected kind, order and shape".into());
    }
    let sides = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    let count = sides.map(|s| s.parse::<usize>().ok()).try_fold(1usize, |all, side| all.checked_mul(side?));
    let (held, size) = (bytes.len() - from - length, size_of::<T>());
    match count.and_then(|n| n.checked_mul(size)) {
        Some(needed) if needed == held => {}
        _ => {
            return Err(format!(
                "its shape ({}) of {size} bytes each does not fit the {held} bytes of kind {} behind the header",
                plain(shape),
                plain(header.split("'descr': ").nth(1).and_then(|d| d.split(',').next()).unwrap_or("unknown"))
            ));
        }
    }
    ArrayD::<T>::read_npy(bytes).map_err(|e| plain(&one_line(&e.to_string())))
}

/// Loads both networks, runs the golden vectors and lets go again: the proof at start.
///
/// # Errors
/// As [`run`], and whatever keeps the networks from loading.
pub fn prove(bundle: &Bundle) -> Result<Option<Deviation>, BundleError> {
    let mut encoder =
        bundle.contract.input.as_ref().map(|_| Encoder::load_with_map(bundle, crate::encoder::Form::AsBuilt)).transpose()?;
    run(bundle, encoder.as_mut(), &mut Head::load(bundle)?)
}
