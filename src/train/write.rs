//! A trained net to a bundle: head (and encoder) as ONNX, golden vectors, model card, contract; then opened and proved like any bundle.
//!
//! The head's weights are rounded to s8, one scale a row, and its golden logits are those of the rounded weights by candle. Where the head learnt
//! from scaled numbers, the scaling is folded into its first layer. Golden features of a new encoder come from stock tract in float, so that our
//! int8 operator is held against another implementation.

use super::net::{Layer, Net, Plan};
use super::onnx::{Attribute, Graph, rounded};
use super::set::window_of;
use super::{Result, TrainError, fit, judge};
use crate::bundle::{Bundle, BundleError, Channel, Decision, ENCODER, Resize, hex};
use crate::store::{replace, settle};
use candle_core::{Device, Tensor, Var};
use ndarray::{Array, ArrayD, Dimension};
use ndarray_npy::{WritableElement, WriteNpyExt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The logit of the class that stands for "none of them" where no background was learnt: it never wins by itself.
const NEVER: f32 = -30.0;

/// Part of the weights on rows that rounding may take away. A byte is off by a 254th of a row's largest weight at most: far below this where all
/// numbers of a row are of one kind.
const LOST: f32 = 0.02;

/// Ticks in a row that the new bundle's ring may repeat: half a second at ten a second.
pub const MAX_HELD: usize = 5;

/// The head as the device will run it: scaling folded in, weights rounded, a class "none" added if `none`. What reads rows whose numbers have units too
/// different for one scale a row stays as it is; the device finds out whether it can run it in int8.
///
/// # Errors
/// None in practice.
pub fn rounded_head(net: &Net, scale: Option<&(Vec<f32>, Vec<f32>)>, none: bool) -> Result<Net> {
    let device = Device::Cpu;
    let round = |t: &Tensor| -> Result<Var> {
        let (_, depth) = t.dims2()?;
        let (bytes, scales) = rounded(&t.contiguous()?.flatten_all()?.to_vec1::<f32>()?, depth);
        let values: Vec<f32> = bytes.iter().enumerate().map(|(n, b)| f32::from(*b) * scales[n / depth]).collect();
        Ok(Var::from_vec(values, t.shape(), &device)?)
    };
    let mut layers = Vec::new();
    for (n, l) in net.layers.iter().enumerate() {
        let (mut w, mut wb) = (round(&l.w)?, l.wb.as_tensor().clone());
        if let Some((mean, deviation)) = scale.filter(|_| n == 0) {
            let deviation = Tensor::new(deviation.as_slice(), &device)?;
            let folded = l.w.broadcast_div(&deviation)?;
            w = round(&folded)?;
            let off = ((w.as_tensor() - &folded)?.broadcast_mul(&deviation)?.sqr()?.sum_all()? / l.w.sqr()?.sum_all()?)?;
            if off.to_scalar::<f32>()?.sqrt() > LOST {
                w = Var::from_tensor(&folded)?;
            }
            // With the weights that are multiplied: what is far from 0 would shift everything by what rounding took away.
            wb = (wb - w.matmul(&Tensor::new(mean.as_slice(), &device)?.unsqueeze(1)?)?.squeeze(1)?)?;
        }
        layers.push(Layer { w, r: round(&l.r)?, wb: Var::from_tensor(&wb)?, rb: Var::from_tensor(&l.rb)? });
    }
    let (mut dense, mut bias) = (net.dense.as_tensor().clone(), net.bias.as_tensor().clone());
    if none {
        dense = Tensor::cat(&[&dense, &dense.narrow(0, 0, 1)?.zeros_like()?], 0)?;
        bias = Tensor::cat(&[&bias, &Tensor::new(&[NEVER], &device)?], 0)?;
    }
    let plan = Plan { classes: dense.dim(0)?, ..net.plan };
    Ok(Net { plan, layers, dense: round(&dense)?, bias: Var::from_tensor(&bias)? })
}

/// Does it lose nothing as s8 with a scale a row?
fn is_rounded(weights: &[f32], depth: usize) -> bool {
    let (bytes, scales) = rounded(weights, depth);
    let again = bytes.iter().enumerate().map(|(n, b)| f32::from(*b) * scales[n / depth]);
    again.zip(weights).all(|(a, w)| (a - w).abs() <= 1e-5 * w.abs())
}

/// The file of a head whose weights are rounded already.
///
/// # Errors
/// None in practice.
pub fn head(net: &Net, window: usize) -> Result<Vec<u8>> {
    network(net, window, "logits")
}

/// The file of any such network; its output has this name.
///
/// # Errors
/// None in practice.
pub fn network(net: &Net, window: usize, output: &str) -> Result<Vec<u8>> {
    let (mut graph, plan) = (Graph::default(), &net.plan);
    let list = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_vec1::<f32>()?) };
    let rows = plan.cell.gates() * plan.hidden;
    graph.longs("axis0", &[0]);
    graph.longs("axis1", &[1]);
    graph.node("Transpose", &["window"], &["sequence0"], &[("perm", Attribute::Ints(vec![1, 0, 2]))]);
    for (n, l) in net.layers.iter().enumerate() {
        let inputs = if n == 0 { plan.features } else { plan.hidden };
        let [x, w, r, b, all, last] = ["sequence", "W", "R", "B", "all", "last"].map(|name| format!("{name}{n}"));
        let weights = list(&l.w)?;
        if is_rounded(&weights, inputs) {
            graph.weights(&w, &[1, rows, inputs], 1, &weights);
        } else {
            graph.floats(&w, &[1, rows, inputs], &weights);
        }
        graph.weights(&r, &[1, rows, plan.hidden], 1, &list(&l.r)?);
        graph.floats(&b, &[1, 2 * rows], &[list(&l.wb)?, list(&l.rb)?].concat());
        let mut attributes = vec![("hidden_size", Attribute::Int(plan.hidden as i64))];
        if plan.cell == super::net::Cell::Gru {
            attributes.push(("linear_before_reset", Attribute::Int(1)));
        }
        if n + 1 < net.layers.len() {
            graph.node(plan.cell.operator(), &[&x, &w, &r, &b], &[&all], &attributes);
            graph.node("Squeeze", &[&all, "axis1"], &[&format!("sequence{}", n + 1)], &[]);
        } else {
            graph.node(plan.cell.operator(), &[&x, &w, &r, &b], &["", &last], &attributes);
            graph.node("Squeeze", &[&last, "axis0"], &["state"], &[]);
        }
    }
    graph.weights("dense", &[plan.classes, plan.hidden], 0, &list(&net.dense)?);
    graph.floats("bias", &[plan.classes], &list(&net.bias)?);
    graph.node("Gemm", &["state", "dense", "bias"], &[output], &[("transB", Attribute::Int(1))]);
    Ok(graph.file(("window", &[1, window, plan.features]), false, (output, &[1, plan.classes])))
}

/// What the contract says beside names and hashes.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Short name.
    pub name: String,
    /// One line.
    pub description: String,
    /// What the encoder sees; `None`: rows of numbers.
    pub input: Option<crate::bundle::Input>,
    /// Numbers that a frame gives.
    pub features: usize,
    /// Names of the numbers that come beside it.
    pub extra: Vec<String>,
    /// Milliseconds a tick.
    pub tick_ms: u32,
    /// Ticks of a window.
    pub window: usize,
    /// Classes in output order.
    pub labels: Vec<String>,
    /// One of them.
    pub background: String,
    /// Logits are divided by this.
    pub temperature: f32,
    /// Probability at which a class starts.
    pub enter: f32,
    /// How long it must hold, ms.
    pub min_ms: u32,
    /// Is a recording answered by its mean probabilities, as it was judged?
    pub mean: bool,
    /// Largest accepted difference of a feature.
    pub features_tolerance: f32,
    /// Largest accepted difference of a number of the encoder's map.
    pub map_tolerance: f32,
}

impl Terms {
    /// Of rows of numbers and no class yet, with a contract's default thresholds: what everything else changes or adds to.
    pub fn new(name: String, description: String, tick_ms: u32, window: usize) -> Self {
        let Decision { enter, min_ms, .. } = Decision::default();
        Self {
            name,
            description,
            input: None,
            features: 0,
            extra: vec![],
            tick_ms,
            window,
            labels: vec![],
            background: String::new(),
            temperature: 1.0,
            enter,
            min_ms,
            mean: false,
            features_tolerance: 0.0,
            map_tolerance: 0.0,
        }
    }
}

/// A bundle that grows in memory.
#[derive(Debug, Default)]
pub struct Draft {
    /// Name to bytes.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Draft {
    /// Adds an array as `.npy`.
    ///
    /// # Errors
    /// None in practice.
    pub fn array<T: WritableElement, D: Dimension>(&mut self, name: &str, array: &Array<T, D>) -> Result<()> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).map_err(|e| TrainError::Broke(format!("{name}: {e}")))?;
        self.files.insert(name.into(), bytes);
        Ok(())
    }

    /// Golden windows and logits of a rounded head, from rows `[ticks, features]` of recordings.
    ///
    /// # Errors
    /// None in practice.
    pub fn golden_windows(&mut self, net: &Net, rows: &[Tensor], window: usize) -> Result<()> {
        let (mut windows, mut logits) = (Vec::new(), Vec::new());
        for rows in rows {
            // The last full window, and the first tick's, which is all one row.
            for end in [rows.dim(0)? - 1, 0] {
                let index: Vec<u32> = window_of(end, window).map(|t| t as u32).collect();
                let picked = rows.index_select(&Tensor::from_vec(index, window, &Device::Cpu)?, 0)?;
                logits.extend(fit::windows(net, &picked, window)?.split_off((window - 1) * net.plan.classes));
                windows.extend(picked.flatten_all()?.to_vec1::<f32>()?);
            }
        }
        let n = 2 * rows.len();
        let shaped =
            |shape: &[usize], values| ArrayD::from_shape_vec(shape, values).map_err(|e| TrainError::Broke(e.to_string()));
        self.array("golden_windows.npy", &shaped(&[n, window, net.plan.features], windows)?)?;
        self.array("golden_logits.npy", &shaped(&[n, net.plan.classes], logits)?)
    }

    /// The contract over the files so far.
    fn contract(&self, t: &Terms) -> String {
        let mut text = String::new();
        let quoted = |list: &[String]| list.iter().map(|l| format!("{l:?}")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "name = {:?}\nversion = \"1.0.0\"\ndescription = {:?}\n", t.name, t.description);
        if !t.extra.is_empty() {
            // As they are: how they are scaled is part of the head's first layer.
            let _ = writeln!(text, "extra = [{}]\n", quoted(&t.extra));
        }
        if let Some(i) = &t.input {
            let channels: Vec<String> = i.channels.iter().map(|c| channel(*c).to_string()).collect();
            let resize = match i.resize {
                Resize::Stretch => "stretch",
                Resize::Crop => "crop",
                Resize::Letterbox => "letterbox",
            };
            let _ = writeln!(text, "[input]\nwidth = {}\nheight = {}\nchannels = [{}]", i.width, i.height, quoted(&channels));
            let _ =
                writeln!(text, "motion_span = {}\nresize = {resize:?}\ngate = {:?}\nclip = {}", i.motion_span, i.gate, i.clip);
            let _ = writeln!(text, "mean = {:?}\nscale = {:?}\nfeatures = {}", i.mean, i.scale, t.features);
            // Without golden vectors to hold it against, a map may not stand in a contract: the bundle goes on without it.
            let map = i.map.as_ref().filter(|_| self.files.contains_key("golden_map.npy"));
            let map = map.map_or(String::new(), |name| format!("map = {name:?}\n"));
            let _ = writeln!(text, "{map}");
        }
        let _ =
            writeln!(text, "[time]\ntick_ms = {}\nwindow = {}\nmode = \"window\"\nmax_held = {MAX_HELD}\n", t.tick_ms, t.window);
        let _ = writeln!(
            text,
            "[head]\nlabels = [{}]\nbackground = {:?}\ntemperature = {:?}",
            quoted(&t.labels),
            t.background,
            t.temperature
        );
        if t.input.is_none() {
            let _ = writeln!(text, "features = {}", t.features);
        }
        let leave = (judge::leave(t.enter) * 100.0).round() / 100.0;
        let _ = writeln!(text, "\n[decision]\nenter = {:?}\nleave = {leave:?}\nmin_ms = {}", t.enter, t.min_ms);
        text.push_str(if t.mean { "clip = \"mean\"\n\n[golden]\n" } else { "\n[golden]\n" });
        if t.input.is_some() && self.files.contains_key("golden_frames.npy") {
            let _ = writeln!(text, "frames = \"golden_frames.npy\"\nfeatures = \"golden_features.npy\"");
        }
        if self.files.contains_key("golden_map.npy") {
            let _ = writeln!(text, "map = \"golden_map.npy\"\nmap_tolerance = {:?}", t.map_tolerance);
        }
        let _ = writeln!(text, "windows = \"golden_windows.npy\"\nlogits = \"golden_logits.npy\"");
        let _ = writeln!(text, "features_tolerance = {:?}\nlogits_tolerance = 0.01\n\n[files]", t.features_tolerance);
        for (name, bytes) in
            self.files.iter().filter(|(name, _)| [".onnx", ".npy", ".json"].iter().any(|end| name.ends_with(end)))
        {
            let _ = writeln!(text, "{name:?} = \"{}\"", hex(&Sha256::digest(bytes)));
        }
        text
    }

    /// The bundle, opened and checked in memory.
    ///
    /// # Errors
    /// What does not fit: a fault of ours.
    pub fn open(&self, terms: &Terms) -> Result<Bundle> {
        in_memory(&self.files, &self.contract(terms))
    }

    /// Writes the folder, whole or not at all.
    ///
    /// # Errors
    /// The file and why not.
    pub fn save(&self, terms: &Terms, folder: &Path) -> Result<()> {
        save(folder, &self.files, &self.contract(terms))
    }
}

/// A bundle of these files under this contract, opened and checked in memory.
///
/// # Errors
/// What does not fit: a fault of ours.
pub fn in_memory(files: &BTreeMap<String, Vec<u8>>, contract: &str) -> Result<Bundle> {
    let origin = "the new bundle";
    let bundle = Bundle::load(origin, |name| match files.get(name) {
        _ if name == "bundle.toml" => Ok(contract.as_bytes().to_vec()),
        Some(bytes) => Ok(bytes.clone()),
        None => Err(BundleError { bundle: origin.into(), why: format!("{name} is missing") }),
    });
    bundle.map_err(|e| TrainError::Broke(e.to_string()))
}

/// Writes a folder of these files under this contract, whole or not at all.
///
/// # Errors
/// The file and why not.
pub fn save(folder: &Path, files: &BTreeMap<String, Vec<u8>>, contract: &str) -> Result<()> {
    let failed = |path: &Path, e: std::io::Error| TrainError::Broke(format!("{}: {e}", path.display()));
    let part = folder.with_added_extension("part");
    let _ = std::fs::remove_dir_all(&part);
    std::fs::create_dir_all(&part).map_err(|e| failed(&part, e))?;
    let contract = ("bundle.toml", contract.as_bytes());
    let mut all = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).chain([contract]);
    if let Err(e) = all.try_for_each(|(name, bytes)| replace(&part.join(name), bytes)) {
        // The room is wanted back.
        let _ = std::fs::remove_dir_all(&part);
        return Err(TrainError::Broke(e.to_string()));
    }
    settle(&part, folder).map_err(|e| failed(folder, e))
}

/// A channel as the contract writes it.
pub fn channel(c: Channel) -> &'static str {
    match c {
        Channel::Gray => "gray",
        Channel::Rgb => "rgb",
        Channel::Motion => "motion",
        Channel::Flow => "flow",
    }
}

/// The files of a bundle whose encoder is kept: encoder and its golden vectors.
pub fn kept_encoder(bundle: &Bundle) -> BTreeMap<String, Vec<u8>> {
    let golden = bundle.contract.golden.as_ref();
    let names = [(ENCODER, Some(ENCODER)), ("golden_frames.npy", golden.and_then(|g| g.frames.as_deref()))];
    let features = ("golden_features.npy", golden.and_then(|g| g.features.as_deref()));
    let map = ("golden_map.npy", golden.and_then(|g| g.map.as_deref()));
    let take = |(name, from): (&str, Option<&str>)| Some((name.to_string(), bundle.file(from?)?.to_vec()));
    names.into_iter().chain([features, map]).filter_map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::super::net::Cell;
    use super::*;
    use crate::bundle::HEAD;
    use crate::rng::Rng;

    /// A pressure in Pa beside an angle in radians: rounding must not shift or drown what the small one says.
    #[test]
    fn rows_of_any_units_and_far_from_zero_say_what_was_trained() {
        let plan = Plan { cell: Cell::Gru, features: 3, hidden: 16, layers: 1, classes: 4, dropout: 0.0 };
        let mut rng = Rng(9);
        let net = Net::new(plan, &mut rng).expect("a net");
        let scale = (vec![101_300.0, 0.01, 20.0], vec![500.0, 0.002, 3.0]);
        let scaled: Vec<f32> = (0..40 * 3).map(|_| rng.normal()).collect();
        let raw = scaled.iter().enumerate().map(|(n, v)| scale.0[n % 3] + v * scale.1[n % 3]).collect::<Vec<f32>>();
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 40, 3), &Device::Cpu).expect("rows");
        let say = |net: &Net, rows: Vec<f32>| {
            net.run(&tensor(rows), 40, None).and_then(|y| y.flatten_all()).and_then(|y| y.to_vec1::<f32>()).expect("logits")
        };
        let small = rounded_head(&net, Some(&scale), false).expect("rounded");
        let worst = say(&net, scaled).iter().zip(say(&small, raw)).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(worst < 0.03, "{worst} from what was trained");
        // The same kind of numbers throughout: a byte for each weight is enough.
        let alike = rounded_head(&net, Some(&(vec![5.0; 3], vec![2.0; 3])), false).expect("rounded");
        let weights = |net: &Net| net.layers[0].w.flatten_all().and_then(|w| w.to_vec1::<f32>()).expect("weights");
        assert!(is_rounded(&weights(&alike), 3) && !is_rounded(&weights(&small), 3));
    }

    /// Every cell, one and two layers: what candle computes is what the written head gives on the device, and in stock tract.
    #[test]
    fn a_written_head_gives_what_was_trained() {
        for (cell, layers) in [(Cell::Lstm, 1), (Cell::Lstm, 2), (Cell::Gru, 1), (Cell::Gru, 2), (Cell::Rnn, 1)] {
            let plan = Plan { cell, features: 12, hidden: 24, layers, classes: 3, dropout: 0.0 };
            let mut rng = Rng(5);
            let net = Net::new(plan, &mut rng).expect("a net");
            let scale = ((0..12).map(|n| n as f32).collect(), (0..12).map(|n| 1.0 + n as f32).collect());
            let raw: Vec<f32> = (0..8 * 12).map(|n| (n % 12) as f32 + rng.normal() * (1.0 + (n % 12) as f32)).collect();
            let rows = Tensor::from_vec(raw, (8, 12), &Device::Cpu).expect("rows");
            let small = rounded_head(&net, Some(&scale), true).expect("rounded");
            let mut draft = Draft::default();
            draft.files.insert(HEAD.into(), head(&small, 8).expect("a file"));
            draft.golden_windows(&small, &[rows], 8).expect("golden");
            let terms = Terms {
                features: 12,
                labels: ["a", "b", "c", "none"].map(String::from).into(),
                background: "none".into(),
                ..Terms::new("x".into(), String::new(), 100, 8)
            };
            let bundle = draft.open(&terms).expect("a bundle");
            let mut plain = crate::head::Head::load_plain(&bundle).expect("tract");
            let found = crate::golden::run(&bundle, None, &mut plain).expect("within").expect("golden");
            assert!(found.logits < 1e-5, "{cell:?} x{layers}: {} from candle in stock tract", found.logits);
            let mut own = crate::head::Head::load(&bundle).expect("ours");
            let found = crate::golden::run(&bundle, None, &mut own).expect("within").expect("golden");
            assert!(own.is_own() && found.logits < 1e-2 && found.top1_equal, "{cell:?} x{layers}: {}", found.logits);
        }
    }
}
