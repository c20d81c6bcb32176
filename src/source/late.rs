//! A recording that has not begun: it comes through a FIFO or standard input, and its headers are not there yet, or not all of them.
//!
//! What it is stands in its first bytes, so it is opened when they have come. Until then it stalls as any stream may, and whoever watches says so,
//! waits as long as he likes and can be stopped. The FIFO stays open meanwhile, so that a writer always finds his reader.

use super::input::{Input, lost};
use super::{Frame, Source, SourceError};

/// Opens a recording by its first bytes.
type Begin = Box<dyn FnOnce(Input) -> Result<Box<dyn Source>, SourceError> + Send>;
/// Are these first bytes enough to open it?
type Enough = fn(&[u8]) -> bool;

/// See the module's documentation.
pub(super) struct Late {
    name: String,
    /// Until the first bytes are there.
    waiting: Option<(Input, Enough, Begin)>,
    /// From then on.
    recording: Option<Box<dyn Source>>,
}

impl Late {
    pub fn new(input: Input, enough: Enough, begin: Begin) -> Self {
        Self { name: input.name.clone(), waiting: Some((input, enough, begin)), recording: None }
    }
}

impl Source for Late {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        if let Some((input, enough, _)) = &mut self.waiting {
            input.arrive(*enough)?;
        }
        if let Some((input, _, begin)) = self.waiting.take() {
            self.recording = Some(begin(input)?);
        }
        match &mut self.recording {
            Some(recording) => recording.next(),
            None => Err(lost(&self.name, "it could not be begun")),
        }
    }

    fn describe(&self) -> String {
        self.recording.as_ref().map_or_else(|| self.name.clone(), |recording| recording.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::{Options, Spec, open};
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs::OpenOptions;
    use std::io::Write;

    #[test]
    fn a_recording_that_has_not_begun_stalls_and_is_read_when_it_begins() {
        let path = std::env::temp_dir().join(format!("lookout-late-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let spec: Spec = format!("y4m:{}", path.display()).parse().unwrap();
        let mut source = open(&spec, &Options::default()).unwrap();
        assert!(matches!(source.next(), Err(SourceError::Stalled { .. })), "nobody writes yet");
        assert_eq!(source.describe(), path.display().to_string());
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(b"YUV4MPEG2 W2 ").unwrap();
        assert!(matches!(source.next(), Err(SourceError::Stalled { .. })), "it has only half begun");
        writer.write_all(b"H1 F10:1 Cmono\nFRAME\nab").unwrap();
        assert!(source.next().unwrap().is_some());
        assert!(source.describe().ends_with(": Y4M Mono 2x1 at 10 a second"), "{}", source.describe());
        assert!(matches!(source.next(), Err(SourceError::Stalled { .. })), "he pauses");
        drop(writer);
        assert!(source.next().unwrap().is_none(), "and ends");
        std::fs::remove_file(path).unwrap();
    }
}
