//! A folder of pictures as a recording: exported frames, medical slices, a camera's stills.
//!
//! Pictures come in the order in which a person would put their names: `slice2.png` before `slice10.png`. Sizes and formats
//! may differ from one to the next. A picture that cannot be read is said and takes up its time.

use super::input::{refused, unopened, words};
use super::picture::Picture;
use super::{Frame, MAX_PIXELS, Payload, Rate, Seq, Source, SourceError};
use std::cmp::Ordering;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file that is read: the largest picture, uncompressed in 16 bits, and some.
const MAX_FILE: u64 = 6 * MAX_PIXELS as u64 + (1 << 16);
const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "pgm", "ppm", "pnm"];

/// A folder of pictures.
#[derive(Debug)]
pub struct Images {
    name: String,
    paths: Vec<PathBuf>,
    rate: Rate,
    file: Vec<u8>,
    picture: Picture,
    n: usize,
}

impl Images {
    /// Lists a folder, or takes a single picture. `luma_only`: see [`super::jpeg::Jpeg::luma_only`].
    ///
    /// # Errors
    /// [`SourceError::Refused`] where there is no folder or nothing in it that is a picture; [`SourceError::Lost`] where it cannot be read just now.
    pub fn open(path: &str, rate: Rate, luma_only: bool) -> Result<Self, SourceError> {
        let refuse = |e: std::io::Error| unopened(path, &e);
        let meta = std::fs::metadata(path).map_err(refuse)?;
        let mut paths = Vec::new();
        if meta.is_dir() {
            for entry in std::fs::read_dir(path).map_err(refuse)? {
                let found = entry.map_err(refuse)?.path();
                if is_picture(&found) {
                    paths.push(found);
                }
            }
            if paths.is_empty() {
                return Err(refused(path, "no pictures in this folder, expected files ending in png, jpg, pgm or ppm"));
            }
        } else {
            paths.push(path.into());
        }
        paths.sort_by(|a, b| natural(name(a).as_bytes(), name(b).as_bytes()).then_with(|| a.cmp(b)));
        Ok(Self { name: path.into(), paths, rate, file: Vec::new(), picture: Picture::new(luma_only), n: 0 })
    }
}

/// Does the name end like a picture's?
pub(crate) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|e| e.eq_ignore_ascii_case(ending))
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Compares text by its letters and by the value of its numbers.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let digits = |t: &[u8]| t.iter().take_while(|c| c.is_ascii_digit()).count();
    let (mut a, mut b) = (a, b);
    loop {
        let order = match (digits(a), digits(b)) {
            (0, _) | (_, 0) => match (a.split_first(), b.split_first()) {
                (Some((x, rest_a)), Some((y, rest_b))) if x == y => {
                    (a, b) = (rest_a, rest_b);
                    continue;
                }
                (x, y) => return x.map(|x| x.0).cmp(&y.map(|y| y.0)),
            },
            (da, db) => {
                let (x, y) = (&a[..da], &b[..db]);
                (a, b) = (&a[da..], &b[db..]);
                let zeros = |t: &[u8]| t.iter().take_while(|c| **c == b'0').count();
                let (x, y) = (&x[zeros(x)..], &y[zeros(y)..]);
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

impl Source for Images {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let n = self.n;
        let Some(path) = self.paths.get(n) else { return Ok(None) };
        self.n += 1;
        let broken = |why| SourceError::Broken { what: path.display().to_string(), why };
        // A FIFO or device that is named like a picture would block.
        if !std::fs::metadata(path).map_err(|e| broken(words(&e)))?.is_file() {
            return Err(broken("expected a file".into()));
        }
        let file = std::fs::File::open(path).map_err(|e| broken(words(&e)))?;
        self.file.clear();
        file.take(MAX_FILE + 1).read_to_end(&mut self.file).map_err(|e| broken(words(&e)))?;
        if self.file.len() as u64 > MAX_FILE {
            return Err(broken(format!("more than {MAX_FILE} bytes, expected a picture")));
        }
        let image = self.picture.decode(&self.file).map_err(|e| match e {
            SourceError::Broken { why, .. } => broken(why),
            other => other,
        })?;
        Ok(Some(Frame { at: self.rate.at(n as u64), seq: Seq(n as u32), payload: Payload::Image(image) }))
    }

    fn describe(&self) -> String {
        format!("{}: {} pictures at {} a second", self.name, self.paths.len(), self.rate)
    }

    fn len_hint(&self) -> Option<u64> {
        Some(self.paths.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_a_person_would() {
        let mut names = ["b1", "a10", "a2", "a02b", "a", "a2b", "10", "9", "", "a2c10", "a2c9"];
        names.sort_by(|a, b| natural(a.as_bytes(), b.as_bytes()).then_with(|| a.cmp(b)));
        assert_eq!(names, ["", "9", "10", "a", "a2", "a02b", "a2b", "a2c9", "a2c10", "a10", "b1"]);
    }
}
