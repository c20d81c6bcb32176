//! A labelled clip on its way to the disk: what `record` and `label` have in common.
//!
//! Both write small Y4M clips ([`crate::source::film`]) into class folders, one picture a tick, which is what `lookout train` reads. A clip is written
//! beside its place and moved there whole, so that a power cut leaves no half clip among the good ones. Several may be written at a time, here and by
//! others: what is being written is locked, and what a killed run left is not, so that it makes way. Numbers beside the pictures ([`crate::extra`]) go
//! into a table beside the clip, a row a tick.

use super::Failure;
use crate::bundle::{self, Bundle, Channel};
use crate::extra::table::Draft;
use crate::shaper::ShaperError;
use crate::source::Image;
use crate::source::film::{self, Film};
use crate::store::{held, settle};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// See the module's documentation.
pub struct Clip {
    /// Before the file: what is not whole is gone before anybody else may have its name.
    part: Part,
    file: BufWriter<File>,
    place: PathBuf,
    table: Draft,
    ticks: usize,
}

impl Clip {
    /// The next one in a folder, called `stem` and a number: clips of earlier recordings stay. `header`: see [`Small::take`].
    pub fn begin(dir: &Path, stem: &str, header: &str, table: Draft) -> Result<Self, Failure> {
        let (place, part, file) = next(dir, stem)?;
        let mut file = BufWriter::new(file);
        file.write_all(header.as_bytes()).map_err(|e| failed(&part.0, &e))?;
        Ok(Self { part, file, place, table, ticks: 0 })
    }

    /// A tick: its picture, and its extras as value and mark.
    pub fn tick(&mut self, picture: &[u8], extras: &[f32]) -> Result<(), Failure> {
        self.ticks += 1;
        self.table.tick(extras);
        film::write(&mut self.file, picture).map_err(|e| failed(&self.part.0, &e))
    }

    /// Ticks in it so far.
    pub fn ticks(&self) -> usize {
        self.ticks
    }

    /// Whole and on the disk, or not there. Where it lies.
    pub fn end(self) -> Result<PathBuf, Failure> {
        let Self { part, file, place, table, .. } = self;
        // Locked until it has its own name.
        let _file = file.into_inner().map_err(|e| failed(&part.0, e.error()))?;
        table.save(&place).map_err(|e| failed(&part.0, &e))?;
        settle(&part.0, &place).map_err(|e| failed(&place, &e))?;
        Ok(place)
    }
}

/// The next name that no clip has, and the file that is to bear it.
fn next(dir: &Path, stem: &str) -> Result<(PathBuf, Part, File), Failure> {
    let mut n = 0u64;
    loop {
        let place = dir.join(format!("{stem}{n:04}.y4m"));
        n += 1;
        if place.exists() {
            continue;
        }
        let path = place.with_extension("part");
        let file = match held(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(file) => file,
            // A clip is being written under it.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(failed(&path, &e)),
        };
        let part = Part(path);
        // Another one may have become whole under this name meanwhile.
        if !place.exists() {
            file.set_len(0).map_err(|e| failed(&part.0, &e))?;
            return Ok((place, part, file));
        }
    }
}

/// A clip that is not whole. Dropped before it has its own name it is gone: it would take the room of what could be whole.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing is left under this name of a clip that was moved to its place.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn failed(path: &Path, e: &io::Error) -> Failure {
    Failure::broke(format!("{}: {e}", path.display()))
}

/// Can a class be called this? It becomes a folder's name.
pub fn is_name(label: &str) -> Result<(), String> {
    if label.is_empty() || !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(format!("label {label:?}: letters, digits, - and _ expected"));
    }
    // As `train` will call it.
    bundle::class("label", &bundle::as_label(label)).map(drop)
}

/// The folder of a class, made if need be.
pub fn class(out: &Path, label: &str) -> Result<PathBuf, Failure> {
    is_name(label).map_err(Failure::refused)?;
    let dir = out.join(label);
    std::fs::create_dir_all(&dir).map_err(|e| failed(&dir, &e))?;
    Ok(dir)
}

/// Frames made smaller, all like the first one.
pub struct Small {
    film: Option<Film>,
    width: usize,
    colour: bool,
    tick_ms: u32,
}

impl Small {
    /// At most `width` pixels wide; in colour where the bundle looks at colours, or says nothing of pictures.
    pub fn new(bundle: &Bundle, width: u16) -> Self {
        let colour = bundle.contract.input.as_ref().is_none_or(|i| i.channels.contains(&Channel::Rgb));
        Self { film: None, width: width.into(), colour, tick_ms: bundle.contract.time.tick_ms }
    }

    /// The first line of a clip of such pictures, and the picture.
    pub fn take(&mut self, image: &Image<'_>) -> Result<(String, &[u8]), Failure> {
        let refused = |e: ShaperError| Failure::refused(e.to_string());
        let film = match self.film.take() {
            Some(film) => film,
            None => Film::new(image, self.width, self.colour).map_err(refused)?,
        };
        let film = self.film.insert(film);
        Ok((film.header(self.tick_ms), film.picture(image).map_err(refused)?))
    }
}
