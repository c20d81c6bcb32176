//! Every other kind of recording (MP4, MKV, AVI with a video codec), through the program `ffmpeg` where one is installed.
//!
//! ffmpeg decodes and writes Y4M into a pipe; [`super::clip`] reads it from there. A box has no ffmpeg and needs none: this is for training
//! and for looking at recordings on a host. Variable frame rates become constant ones, as Y4M wants it.

use super::clip::Clip;
use super::input::{lost, passes, refused};
use super::{Frame, Source, SourceError};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// A recording that ffmpeg decodes.
pub struct Ffmpeg {
    clip: Clip,
    decoder: Decoder,
    path: String,
}

/// The running program; ended with us.
struct Decoder {
    child: Child,
    /// Its last complaint.
    said: Option<JoinHandle<String>>,
}

/// Is there an ffmpeg to run?
pub fn installed() -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("ffmpeg").is_file()))
}

impl Ffmpeg {
    /// Starts ffmpeg on a file and reads the first bytes of what it makes.
    ///
    /// # Errors
    /// [`SourceError::Refused`] with ffmpeg's own last words where it cannot read the file, or where there is no ffmpeg; [`SourceError::Lost`] where
    /// it cannot be started just now.
    pub fn open(path: &str) -> Result<Self, SourceError> {
        // One thread: who reads many recordings reads several at a time. `file:` keeps a name with a colon from being a protocol.
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-threads", "1", "-i", &format!("file:{path}")])
            .args(["-map", "0:v:0", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-strict", "-1", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|e| {
            let why = format!("this kind of recording needs the program ffmpeg: {e}");
            if passes(&e) { lost(path, why) } else { refused(path, why) }
        })?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let said = err
            .map(|err| std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).last().unwrap_or_default()));
        let mut decoder = Decoder { child, said };
        let opened = out.map(|out| Clip::from_reader(path, out));
        match opened {
            Some(Ok(clip)) => Ok(Self { clip, decoder, path: path.into() }),
            _ => Err(refused(path, decoder.complaint().unwrap_or_else(|| "ffmpeg made no picture of it".into()))),
        }
    }
}

impl Decoder {
    /// Why it failed, if it did: its last words. Waits for its end.
    fn complaint(&mut self) -> Option<String> {
        let failed = !self.child.wait().is_ok_and(|status| status.success());
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let said = said.rsplit(" @ ").next().unwrap_or_default().to_string();
        failed.then(|| format!("ffmpeg: {}", crate::bundle::plain(&said)))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // It may be done already; then there is nobody to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Source for Ffmpeg {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        match self.clip.next() {
            // The end of the pictures is the end of the recording only if ffmpeg says so too.
            Ok(None) if self.decoder.said.is_some() => match self.decoder.complaint() {
                Some(why) => Err(SourceError::Broken { what: self.path.clone(), why }),
                None => Ok(None),
            },
            other => other,
        }
    }

    fn describe(&self) -> String {
        format!("{} by ffmpeg", self.clip.describe())
    }
}
