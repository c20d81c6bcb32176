//! What `bundle.toml` may say, key for key, and what of it is possible.
//!
//! The types are read as they stand: an unknown key is refused while reading, a key that may be left out has its default here. What is known from the
//! contract alone is checked beside them; graphs, hashes and golden vectors are others' to check. A refusal is one sentence: key, found, expected.

use super::{MAX_WINDOW, class, label};
use crate::extra::Extra;
use crate::report::Label;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// `bundle.toml`, key for key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Short name, `[a-z0-9_-]{1,32}`.
    pub name: String,
    /// Version of this bundle, as its maker counts.
    pub version: String,
    /// One line for `lookout check` and the log.
    #[serde(default)]
    pub description: String,
    /// What the encoder sees; absent in a bundle for rows of numbers.
    pub input: Option<Input>,
    /// How time is cut.
    pub time: Time,
    /// The recurrent head and its classes.
    pub head: Head,
    /// Numbers that come beside the pictures, in order; see [`crate::extra`].
    #[serde(default)]
    pub extra: Vec<Extra>,
    /// When a class counts as seen.
    #[serde(default)]
    pub decision: Decision,
    /// Known inputs and outputs, from the framework that trained the networks.
    pub golden: Option<Golden>,
    /// File name to sha256 in hex, for every file the bundle uses.
    pub files: BTreeMap<String, String>,
}

impl Contract {
    /// Checks the contract against itself, and gives its labels in output order and the index of the background.
    pub(super) fn check(&self) -> Result<(Vec<Label>, usize), String> {
        label("name", &self.name)?;
        self.time.check()?;
        self.head.check()?;
        self.decision.check()?;
        match (&self.input, self.head.features) {
            (Some(i), None) => i.check()?,
            (None, Some(d)) => within("head.features", d, 1, 65_536)?,
            (Some(_), Some(_)) => {
                return Err("head.features belongs to a bundle without [input]; input.features says it here".into());
            }
            (None, None) => return Err("[input] or head.features is needed: pictures for an encoder, or rows of numbers".into()),
        }
        Extra::check(&self.extra)?;
        self.check_boxes()?;
        self.check_map()?;
        self.head.names()
    }

    /// Boxes need pictures, and something to be held against.
    fn check_boxes(&self) -> Result<(), String> {
        match (&self.head.boxes, self.golden.as_ref().map(|g| &g.boxes)) {
            (Some(name), _) if self.input.is_none() => Err(format!(
                "head.boxes = {name:?} needs [input]: a box is a part of a picture, and this bundle takes rows of numbers"
            )),
            (Some(name), Some(None)) => {
                Err(format!("golden.boxes is missing: head.boxes = {name:?} has to be held against something"))
            }
            (None, Some(Some(name))) => Err(format!("golden.boxes = {name:?}, and head.boxes names no output")),
            _ => Ok(()),
        }
    }

    /// So does a map.
    fn check_map(&self) -> Result<(), String> {
        let golden = self.golden.as_ref().map(|g| (&g.map, &g.frames, &g.features));
        match (self.input.as_ref().and_then(|i| i.map.as_ref()), golden) {
            (Some(name), Some((None, _, _) | (_, None, _) | (_, _, None))) => Err(format!(
                "golden.map, golden.frames and golden.features are needed: input.map = {name:?} has to be held against something"
            )),
            (None, Some((Some(name), _, _))) => Err(format!("golden.map = {name:?}, and input.map names no output")),
            _ => Ok(()),
        }
    }
}

/// `[input]`: the picture as the encoder wants it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Planes in order; see [`Channel`].
    pub channels: Vec<Channel>,
    /// Ticks between the two pictures of the slow `motion` plane.
    #[serde(default = "Input::default_span")]
    pub motion_span: usize,
    /// How the region of interest becomes width x height.
    #[serde(default)]
    pub resize: Resize,
    /// Level that becomes 0, one number for all planes or one per plane. Only for an f32 input.
    #[serde(default = "Input::default_mean")]
    pub mean: Vec<f32>,
    /// Levels that become 1.0, one number for all planes or one per plane. Only for an f32 input.
    #[serde(default = "Input::default_scale")]
    pub scale: Vec<f32>,
    /// Ticks of pictures in one encoder input: 1 for a frame encoder (rank 4), more for a clip encoder (rank 5).
    #[serde(default = "Input::default_clip")]
    pub clip: usize,
    /// A picture none of whose 8x8 blocks differs on average by more than this many levels from the last encoded one
    /// takes its features from there; 0: every tick is encoded. See [`crate::gate`].
    #[serde(default)]
    pub gate: f32,
    /// Numbers in the encoder's feature vector.
    pub features: usize,
    /// The output of the encoder's graph that says where things are, f32 `[1,5,H,W]`: of each cell of the picture how sure it is (0 to 1) that a
    /// moving thing's middle is near, and how far its own middle is from the thing's left, top, right and low edge, in fractions of the
    /// picture. See [`crate::place`].
    pub map: Option<String>,
}

impl Input {
    fn default_span() -> usize {
        5
    }
    fn default_mean() -> Vec<f32> {
        vec![0.0]
    }
    fn default_scale() -> Vec<f32> {
        vec![1.0]
    }
    fn default_clip() -> usize {
        1
    }
    /// A picture of this size with these channels, squeezed, its levels as they are; how many features come of it is said elsewhere.
    pub fn picture(width: usize, height: usize, channels: Vec<Channel>) -> Self {
        let (mean, scale) = (Self::default_mean(), Self::default_scale());
        let (motion_span, resize, clip) = (Self::default_span(), Resize::Stretch, Self::default_clip());
        Self { width, height, channels, motion_span, resize, mean, scale, clip, gate: 0.0, features: 1, map: None }
    }
    /// Planes in all.
    pub fn planes(&self) -> usize {
        self.channels.iter().map(|c| c.planes()).sum()
    }
    /// Shape of the encoder's input: `[1, P, H, W]`, or `[1, P, T, H, W]` for a clip of `T` ticks.
    pub fn shape(&self) -> Vec<usize> {
        let ticks = (self.clip > 1).then_some(self.clip);
        [1, self.planes()].into_iter().chain(ticks).chain([self.height, self.width]).collect()
    }
    /// Is every number of it possible?
    pub(crate) fn check(&self) -> Result<(), String> {
        let planes = self.planes();
        within("input.width", self.width, 8, 1024)?;
        within("input.height", self.height, 8, 1024)?;
        within("input.channels: number of planes", planes, 1, 16)?;
        within("input.motion_span", self.motion_span, 1, 64)?;
        within("input.clip", self.clip, 1, 64)?;
        within("input.features", self.features, 1, 65_536)?;
        if !(0.0..=255.0).contains(&self.gate) {
            return Err(format!("input.gate = {}, expected 0 (off) to 255 levels", self.gate));
        }
        if self.gate > 0.0 && self.channels.contains(&Channel::Flow) && !self.channels.contains(&Channel::Motion) {
            return Err(
                "input.gate needs \"motion\" beside \"flow\" in input.channels: flow alone cannot tell noise from news".into()
            );
        }
        for (key, list) in [("input.mean", &self.mean), ("input.scale", &self.scale)] {
            if list.len() != 1 && list.len() != planes {
                return Err(format!("{key} has {} numbers, expected 1 or {planes} (one a plane)", list.len()));
            }
            if let Some(bad) = list.iter().find(|v| !v.is_finite() || (key == "input.scale" && **v == 0.0)) {
                return Err(format!("{key} holds {bad}"));
            }
        }
        Ok(())
    }
}

/// What a plane shows.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Luma, one plane.
    Gray,
    /// Red, green, blue, three planes.
    Rgb,
    /// |change of luma| since one tick and since `motion_span` ticks ago, two planes.
    Motion,
    /// Dense Lucas-Kanade u and v since one tick ago, the frame's median taken out, two planes.
    Flow,
}

impl Channel {
    /// Planes this channel fills.
    pub const fn planes(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Motion | Self::Flow => 2,
        }
    }
}

/// How a picture of another shape fits.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// All of it, squeezed.
    #[default]
    Stretch,
    /// The largest middle part of the right shape.
    Crop,
    /// All of it in shape, level 0 (luma) around it.
    Letterbox,
}

/// `[time]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Milliseconds a tick.
    pub tick_ms: u32,
    /// Ticks the head looks at.
    pub window: usize,
    /// What the head remembers.
    #[serde(default)]
    pub mode: Mode,
    /// Ticks in a row that may repeat the last features before the ring empties.
    pub max_held: usize,
}

impl Time {
    /// The longest time between two frames in which the window does not empty.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(u64::from(self.tick_ms) * (self.max_held as u64 + 1))
    }
    fn check(&self) -> Result<(), String> {
        within("time.tick_ms", self.tick_ms, 5, 60_000)?;
        within("time.window", self.window, 1, MAX_WINDOW)?;
        within("time.max_held", self.max_held, 0, MAX_WINDOW)
    }
}

/// What the head remembers from tick to tick.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing: every window starts from zero state.
    #[default]
    Window,
    /// Its state, reset on gaps.
    Carried,
}

/// `[head]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Class names in output order.
    pub labels: Vec<String>,
    /// The class that means nothing is going on; it makes no events.
    pub background: String,
    /// Logits are divided by this before the softmax.
    #[serde(default = "Head::default_temperature")]
    pub temperature: f32,
    /// Numbers in a row, for a bundle without an encoder.
    pub features: Option<usize>,
    /// The output of the head's graph that says where the thing is, f32 `[1,4]`: left, top, width and height in fractions of the
    /// encoder's picture. See [`crate::head::boxes`].
    pub boxes: Option<String>,
}

impl Head {
    fn default_temperature() -> f32 {
        1.0
    }
    fn check(&self) -> Result<(), String> {
        within("head.labels: number of classes", self.labels.len(), 2, 256)?;
        within("head.temperature", self.temperature, 0.01, 100.0)
    }
    /// The labels in output order, each one of them once, and the index of the background.
    fn names(&self) -> Result<(Vec<Label>, usize), String> {
        let mut names: Vec<Label> = Vec::new();
        for text in &self.labels {
            let name = class("head.labels", text)?;
            if names.contains(&name) {
                return Err(format!("head.labels: {text:?} stands twice"));
            }
            names.push(name);
        }
        let background = self.labels.iter().position(|l| *l == self.background);
        let background =
            background.ok_or_else(|| format!("head.background = {:?} is not one of head.labels", self.background))?;
        Ok((names, background))
    }
}

/// `[decision]`: defaults for every class, which the configuration may override.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// Probability at which a class may start.
    pub enter: f32,
    /// Probability below which it ends.
    pub leave: f32,
    /// How long it must hold, in ms.
    pub min_ms: u32,
    /// What is said of a whole recording.
    pub clip: Answer,
}

impl Default for Decision {
    fn default() -> Self {
        Self { enter: 0.6, leave: 0.4, min_ms: 200, clip: Answer::default() }
    }
}

impl Decision {
    fn check(&self) -> Result<(), String> {
        within("decision.enter", self.enter, 0.0, 1.0)?;
        within("decision.leave", self.leave, 0.0, self.enter)?;
        within("decision.min_ms", self.min_ms, 0, 3_600_000)
    }
}

/// `[decision] clip`: the one answer for a whole recording.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The class that was called out most, time times probability; where nothing was, as `Mean`.
    #[default]
    Events,
    /// The class with the highest mean probability: for recordings that show one thing from end to end.
    Mean,
}

/// `[golden]`: what the training framework computed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Encoder inputs as shaped levels, u8 `[N,P,H,W]` (clip encoders `[N,P,T,H,W]`), `.npy`.
    pub frames: Option<String>,
    /// Features of those, f32 `[N,D]`, `.npy`.
    pub features: Option<String>,
    /// Head inputs, f32 `[M,window,D]`, `.npy`.
    pub windows: String,
    /// Logits of those, f32 `[M,classes]`, `.npy`.
    pub logits: String,
    /// Boxes of those windows, f32 `[M,4]`, `.npy`; with `head.boxes`.
    pub boxes: Option<String>,
    /// Largest accepted |difference| of an edge of a box, in fractions of the picture.
    #[serde(default = "Golden::default_boxes_tolerance")]
    pub boxes_tolerance: f32,
    /// Maps of those pictures, f32 `[N,5,H,W]`, `.npy`; with `input.map`.
    pub map: Option<String>,
    /// Largest accepted |difference| of a number of a map.
    #[serde(default = "Golden::default_map_tolerance")]
    pub map_tolerance: f32,
    /// Largest accepted |difference| of a feature. Quantised graphs: a few quantisation steps; float: 1e-4.
    pub features_tolerance: f32,
    /// Largest accepted |difference| of a logit.
    pub logits_tolerance: f32,
}

impl Golden {
    /// A thousandth is what a sentence can say.
    fn default_boxes_tolerance() -> f32 {
        0.001
    }
    /// A few steps of an int8 output that spans twice the picture.
    fn default_map_tolerance() -> f32 {
        0.05
    }
}

/// A number from `low` to `high`, both of them allowed; not a number never is.
fn within<T: Copy + PartialOrd + Display>(key: &str, found: T, low: T, high: T) -> Result<(), String> {
    if (low..=high).contains(&found) { Ok(()) } else { Err(format!("{key} = {found}, expected {low} to {high}")) }
}
