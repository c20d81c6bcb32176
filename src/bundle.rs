//! A bundle: two networks and the contract that says how to feed them.
//!
//! `bundle.toml` is parsed into [`Contract`] as it stands (unknown keys are refused), then checked against itself here,
//! against the graphs by the stages that load them and against the golden vectors by [`crate::cli`]'s `check` and at
//! start. Every refusal is one sentence that names the key, what was found and what was expected.

mod amended;

use crate::extra::Extra;
use crate::report::{INVALID, Label, MAX_LABEL, NOVELTY};
use crate::taught::lesson::{self, Lesson};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Longest window, in ticks: 25.6 s at 100 ms.
pub const MAX_WINDOW: usize = 256;
/// Largest file in a bundle; a camera box loads kilobytes, and this bounds what a hostile file can make us read.
pub const MAX_FILE_BYTES: u64 = 32 << 20;

/// Why a bundle cannot be used. It never helps to try again: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("bundle {bundle}: {why}")]
pub struct BundleError {
    /// Folder, or `built-in`.
    pub bundle: String,
    /// The sentence: key or file, found, expected.
    pub why: String,
}

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

/// A bundle in memory: contract and files, hashes checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Where it came from, for messages.
    pub origin: String,
    /// The contract, checked against itself.
    pub contract: Contract,
    /// Labels in output order; behind the head's own, those that were taught.
    pub labels: Vec<Label>,
    /// Index of the background class.
    pub background: usize,
    /// Hex sha256 over `bundle.toml`, which holds the hashes of all files.
    pub hash: String,
    /// What was taught on top of it, if anything was.
    pub lesson: Option<Lesson>,
    files: BTreeMap<String, Vec<u8>>,
    text: String,
}

/// File names of the two networks.
pub const ENCODER: &str = "encoder.onnx";
/// See [`ENCODER`].
pub const HEAD: &str = "head.onnx";

impl Bundle {
    /// Reads and checks a bundle folder.
    ///
    /// # Errors
    /// One sentence naming file or key, found and expected.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let origin = dir.display().to_string();
        let read = |name: &str| {
            let path = dir.join(name);
            let fail = |why: String| BundleError { bundle: origin.clone(), why: format!("{name}: {why}") };
            let meta = std::fs::metadata(&path).map_err(|e| fail(e.to_string()))?;
            if !meta.is_file() {
                return Err(fail("a file is expected here, found something else".into()));
            }
            if meta.len() > MAX_FILE_BYTES {
                return Err(fail(format!("{} bytes, at most {MAX_FILE_BYTES} are read", meta.len())));
            }
            std::fs::read(&path).map_err(|e| fail(e.to_string()))
        };
        Self::load(&origin, read)
    }

    /// Checks a bundle whose files `read` can give, by name. The contract is read first.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn load(origin: &str, read: impl Fn(&str) -> Result<Vec<u8>, BundleError>) -> Result<Self, BundleError> {
        let refuse = |why: String| BundleError { bundle: origin.to_string(), why };
        let text = read("bundle.toml")?;
        let hash = hex(&Sha256::digest(&text));
        let text = std::str::from_utf8(&text).map_err(|e| refuse(format!("bundle.toml is not UTF-8: {e}")))?;
        let contract: Contract =
            toml::from_str(text).map_err(|e| refuse(format!("bundle.toml: {}", one_line(&e.to_string()))))?;
        let (labels, background) = contract.check().map_err(refuse)?;
        let mut files = BTreeMap::new();
        for (name, expected) in &contract.files {
            if name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(refuse(format!("files: {name:?} is not a plain file name")));
            }
            let bytes = read(name)?;
            let found = hex(&Sha256::digest(&bytes));
            if !found.eq_ignore_ascii_case(expected) {
                return Err(refuse(format!("{name}: sha256 is {found}, bundle.toml says {expected}")));
            }
            files.insert(name.clone(), bytes);
        }
        let mut bundle =
            Self { origin: origin.to_string(), contract, labels, background, hash, lesson: None, files, text: text.to_string() };
        for name in bundle.needed() {
            if !bundle.files.contains_key(&name) {
                return Err(bundle.refuse(format!("files: {name} is missing from the list")));
            }
        }
        // A bundle that was exported with what had been taught; its own hash stands for the file.
        if let Some(bytes) = bundle.file(lesson::FILE) {
            let lesson = Lesson::parse(bytes).map_err(|why| bundle.refuse(format!("{}: {why}", lesson::FILE)))?;
            bundle.teach(lesson)?;
        }
        Ok(bundle)
    }

    /// Puts what was taught on top, instead of what was taught before: its labels follow the head's own.
    ///
    /// # Errors
    /// A label that cannot be one, or more classes than there are ids.
    pub fn teach(&mut self, lesson: Lesson) -> Result<(), BundleError> {
        let own = self.contract.head.labels.len();
        self.labels.truncate(own);
        for text in lesson.labels() {
            let taught = label("a taught class", text).map_err(|why| self.refuse(why))?;
            if !self.labels.contains(&taught) {
                self.labels.push(taught);
            }
        }
        let taught = self.labels.len() - own;
        if taught > lesson::MAX_CLASSES || self.labels.len() > 256 {
            return Err(self.refuse(format!(
                "{own} classes and {taught} taught ones, at most {} are taught, and at most 256 in all",
                lesson::MAX_CLASSES
            )));
        }
        self.lesson = Some(lesson);
        Ok(())
    }

    fn needed(&self) -> Vec<String> {
        let c = &self.contract;
        let mut names = vec![HEAD.to_string()];
        names.extend(c.input.as_ref().map(|_| ENCODER.to_string()));
        if let Some(g) = &c.golden {
            names.extend([g.windows.clone(), g.logits.clone()]);
            names.extend(g.frames.clone());
            names.extend(g.features.clone());
            names.extend(g.boxes.clone());
            names.extend(g.map.clone());
        }
        names
    }

    /// The bytes of a listed file.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Bytes of a tick as the encoder (or, of rows, the head) is given it.
    pub fn tick_bytes(&self) -> usize {
        self.contract.input.as_ref().map_or(4 * self.frame_features(), |i| i.planes() * i.width * i.height)
    }

    /// `bundle.toml` as it stands.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All listed files by name.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Numbers the head reads a tick (a ring row before projection): what a frame gives, then two for each extra.
    pub fn features(&self) -> usize {
        self.frame_features() + 2 * self.contract.extra.len()
    }

    /// Numbers a frame gives: the encoder's features, or a row.
    pub fn frame_features(&self) -> usize {
        self.contract.input.as_ref().map_or(self.contract.head.features.unwrap_or(0), |i| i.features)
    }

    /// An error about this bundle.
    pub fn refuse(&self, why: impl Into<String>) -> BundleError {
        BundleError { bundle: self.origin.clone(), why: why.into() }
    }
}

impl Contract {
    /// Checks the contract against itself.
    fn check(&self) -> Result<(Vec<Label>, usize), String> {
        let within = |key: &str, found: usize, low: usize, high: usize| {
            if (low..=high).contains(&found) { Ok(()) } else { Err(format!("{key} = {found}, expected {low} to {high}")) }
        };
        let finite = |key: &str, found: f32, low: f32, high: f32| {
            if found >= low && found <= high { Ok(()) } else { Err(format!("{key} = {found}, expected {low} to {high}")) }
        };
        label("name", &self.name)?;
        within("time.tick_ms", self.time.tick_ms as usize, 5, 60_000)?;
        within("time.window", self.time.window, 1, MAX_WINDOW)?;
        within("time.max_held", self.time.max_held, 0, MAX_WINDOW)?;
        within("head.labels: number of classes", self.head.labels.len(), 2, 256)?;
        finite("head.temperature", self.head.temperature, 0.01, 100.0)?;
        finite("decision.enter", self.decision.enter, 0.0, 1.0)?;
        finite("decision.leave", self.decision.leave, 0.0, self.decision.enter)?;
        within("decision.min_ms", self.decision.min_ms as usize, 0, 3_600_000)?;
        match (&self.input, self.head.features) {
            (Some(i), None) => i.check()?,
            (None, Some(d)) => within("head.features", d, 1, 65_536)?,
            (Some(_), Some(_)) => {
                return Err("head.features belongs to a bundle without [input]; input.features says it here".into());
            }
            (None, None) => return Err("[input] or head.features is needed: pictures for an encoder, or rows of numbers".into()),
        }
        Extra::check(&self.extra)?;
        match (&self.head.boxes, self.golden.as_ref().map(|g| &g.boxes)) {
            (Some(name), _) if self.input.is_none() => {
                return Err(format!(
                    "head.boxes = {name:?} needs [input]: a box is a part of a picture, and this bundle takes rows of numbers"
                ));
            }
            (Some(name), Some(None)) => {
                return Err(format!("golden.boxes is missing: head.boxes = {name:?} has to be held against something"));
            }
            (None, Some(Some(name))) => return Err(format!("golden.boxes = {name:?}, and head.boxes names no output")),
            _ => {}
        }
        match (self.input.as_ref().and_then(|i| i.map.as_ref()), self.golden.as_ref().map(|g| (&g.map, &g.frames, &g.features))) {
            (Some(name), Some((None, _, _) | (_, None, _) | (_, _, None))) => {
                return Err(format!(
                    "golden.map, golden.frames and golden.features are needed: input.map = {name:?} has to be held against something"
                ));
            }
            (None, Some((Some(name), _, _))) => return Err(format!("golden.map = {name:?}, and input.map names no output")),
            _ => {}
        }
        let mut labels: Vec<Label> = Vec::new();
        for text in &self.head.labels {
            let l = class("head.labels", text)?;
            if labels.contains(&l) {
                return Err(format!("head.labels: {text:?} stands twice"));
            }
            labels.push(l);
        }
        let background = self.head.labels.iter().position(|l| *l == self.head.background);
        let background =
            background.ok_or_else(|| format!("head.background = {:?} is not one of head.labels", self.head.background))?;
        Ok((labels, background))
    }
}

impl Input {
    /// Is every number of it possible?
    pub(crate) fn check(&self) -> Result<(), String> {
        let planes = self.planes();
        for (key, found, low, high) in [
            ("input.width", self.width, 8, 1024),
            ("input.height", self.height, 8, 1024),
            ("input.channels: number of planes", planes, 1, 16),
            ("input.motion_span", self.motion_span, 1, 64),
            ("input.clip", self.clip, 1, 64),
            ("input.features", self.features, 1, 65_536),
        ] {
            if !(low..=high).contains(&found) {
                return Err(format!("{key} = {found}, expected {low} to {high}"));
            }
        }
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

/// Checks a label against `[a-z0-9_-]{1,32}`.
pub(crate) fn label(key: &str, text: &str) -> Result<Label, String> {
    let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    match Label::try_from(text) {
        Ok(l) if good && !text.is_empty() => Ok(l),
        _ => Err(format!("{key}: {text:?}, expected 1 to {MAX_LABEL} of a-z 0-9 _ -")),
    }
}

/// What people call a class, as a label says it: in small letters, with a dash for every sign that the wire does not have.
pub(crate) fn as_label(text: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c.to_ascii_lowercase() } else { '-' };
    text.trim().chars().map(sign).collect()
}

/// Checks the name of a class: a label, and none that reports say of something else.
pub(crate) fn class(key: &str, text: &str) -> Result<Label, String> {
    match text {
        NOVELTY => Err(format!("{key}: {text:?} is what an alarm for what was never here is called, expected another name")),
        INVALID => Err(format!("{key}: {text:?} is what numbers that are not finite are called, expected another name")),
        _ => label(key, text),
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A message that quotes a stranger's file, safe for a console: control characters could move its cursor or colour its text.
pub(crate) fn plain(text: &str) -> String {
    text.chars().take(600).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A parser's message with its line breaks and code frame taken out: one sentence for a serial console.
pub(crate) fn one_line(text: &str) -> String {
    let mut lines = text.lines().filter(|l| !l.trim_start().starts_with('|') && !l.contains(" | "));
    let first = lines.next().unwrap_or_default().to_string();
    lines.fold(first, |all, l| if l.trim().is_empty() { all } else { format!("{all}: {}", l.trim()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_cannot_move_the_cursor() {
        assert_eq!(plain("node \u{1b}[2J\n\0x"), "node ?[2J??x");
        assert_eq!(plain(&"x".repeat(10_000)).len(), 600);
    }
}
