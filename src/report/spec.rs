//! `--report SPEC`: which sink is meant, and opening it.

use super::port::Flow;
use super::stream::Format;
use super::{Identity, Pace, ReportError, Sink, gpio, serial, stream};
use crate::board::Wiring;
use std::path::PathBuf;
use std::str::FromStr;

/// Baud rate where none is given.
pub const DEFAULT_BAUD: u32 = 115_200;

/// One `--report` argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportSpec {
    /// `stdout`: sentences.
    Stdout,
    /// `file:PATH`: sentences, appended.
    File(PathBuf),
    /// `json:-` or `json:PATH`: JSON lines to standard output (`None`) or appended to a file.
    Json(Option<PathBuf>),
    /// `serial:PATH[,BAUD][,rtscts]`: sentences, and queries answered.
    Serial {
        /// The device, best as `/dev/serial/by-id/...`.
        path: PathBuf,
        /// Bits a second, 8N1.
        baud: u32,
        /// Who may send: nobody asks on three wires, RTS and CTS on five.
        flow: Flow,
    },
    /// `gpio`: the lines of the board, or of `[gpio]` in the configuration.
    Gpio,
}

impl ReportSpec {
    /// Would both be written to one file, port or set of lines? Sentences and JSON lines on standard output may be: each line is one write.
    pub fn shares(&self, other: &Self) -> bool {
        let path = |spec: &Self| match spec {
            Self::File(path) | Self::Json(Some(path)) | Self::Serial { path, .. } => Some(path.clone()),
            Self::Stdout | Self::Json(None) | Self::Gpio => None,
        };
        self == other || path(self).is_some_and(|place| path(other) == Some(place))
    }
}

impl FromStr for ReportSpec {
    type Err = ReportError;

    fn from_str(spec: &str) -> Result<Self, ReportError> {
        let refused = |why: &str| Err(ReportError::Refused { what: format!("--report {spec}"), why: why.into() });
        let (kind, rest) = spec.split_once(':').map_or((spec, None), |(kind, rest)| (kind, Some(rest)));
        match (kind, rest) {
            ("stdout", None) => Ok(Self::Stdout),
            ("gpio", None) => Ok(Self::Gpio),
            ("json", Some("-")) => Ok(Self::Json(None)),
            ("json" | "file" | "serial", None | Some("")) => refused("a path is missing, as in `file:reports.txt`"),
            ("json", Some(path)) => Ok(Self::Json(Some(path.into()))),
            ("file", Some(path)) => Ok(Self::File(path.into())),
            ("serial", Some(rest)) => {
                let (rest, flow) = rest.strip_suffix(",rtscts").map_or((rest, Flow::None), |rest| (rest, Flow::RtsCts));
                let (path, baud) = rest.rsplit_once(',').map_or((rest, None), |(path, baud)| (path, Some(baud)));
                let baud = baud.map_or(Ok(DEFAULT_BAUD), str::parse);
                match baud {
                    Ok(baud @ 300..=4_000_000) if !path.is_empty() && !path.ends_with(",rtscts") => {
                        Ok(Self::Serial { path: path.into(), baud, flow })
                    }
                    Ok(_) if path.is_empty() => refused("a path is missing, as in `serial:/dev/ttyAMA0,115200`"),
                    _ => refused(
                        "the baud rate has to be a number from 300 to 4000000, as in `serial:/dev/ttyAMA0,115200`, and `,rtscts` \
                         comes last where the other end says when to send",
                    ),
                }
            }
            _ => refused(
                "not known; `serial:PATH,BAUD`, `serial` (the board's own port), `gpio`, `stdout`, `file:PATH`, `json:-` or `json:PATH` expected",
            ),
        }
    }
}

/// Opens a sink and starts its writer. A serial port or GPIO chip that is not there yet is no error: the sink says
/// so, goes on looking and loses what nobody could have read.
///
/// # Errors
/// [`ReportError`]: each variant says what to do next.
pub fn open(spec: &ReportSpec, identity: &Identity, wiring: Option<&Wiring>, pace: Pace) -> Result<Box<dyn Sink>, ReportError> {
    let writer = match spec {
        ReportSpec::Stdout => stream::stdout(Format::Sentences, identity, pace)?,
        ReportSpec::Json(None) => stream::stdout(Format::Json, identity, pace)?,
        ReportSpec::Json(Some(path)) => stream::file(path, Format::Json, identity, pace)?,
        ReportSpec::File(path) => stream::file(path, Format::Sentences, identity, pace)?,
        ReportSpec::Serial { path, baud, flow } => serial::open(path, *baud, *flow, identity, pace)?,
        ReportSpec::Gpio => {
            let missing = || ReportError::Refused {
                what: "--report gpio".into(),
                why: "neither the board nor the configuration names any GPIO lines".into(),
            };
            gpio::open(wiring.ok_or_else(missing)?, identity, pace)?
        }
    };
    Ok(Box::new(writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read() {
        let serial = |path: &str, baud| ReportSpec::Serial { path: path.into(), baud, flow: Flow::None };
        let radio = |path: &str, baud| ReportSpec::Serial { path: path.into(), baud, flow: Flow::RtsCts };
        for (text, spec) in [
            ("stdout", ReportSpec::Stdout),
            ("gpio", ReportSpec::Gpio),
            ("json:-", ReportSpec::Json(None)),
            ("json:a,b:c", ReportSpec::Json(Some("a,b:c".into()))),
            ("file:/x", ReportSpec::File("/x".into())),
            ("serial:/dev/ttyS0", serial("/dev/ttyS0", 115_200)),
            ("serial:/dev/a,b,9600", serial("/dev/a,b", 9_600)),
            ("serial:/dev/ttyUSB0,57600,rtscts", radio("/dev/ttyUSB0", 57_600)),
            ("serial:/dev/ttyUSB0,rtscts", radio("/dev/ttyUSB0", 115_200)),
        ] {
            assert_eq!(text.parse::<ReportSpec>().unwrap(), spec, "{text}");
        }
        for bad in [
            "",
            "x",
            "stdout:",
            "json",
            "json:",
            "file:",
            "serial:",
            "serial:,9600",
            "serial:/dev/a,",
            "serial:a,0",
            "serial:,rtscts",
            "serial:a,rtscts,9600",
            "gpio:1",
        ] {
            let error = bad.parse::<ReportSpec>().unwrap_err();
            assert!(matches!(error, ReportError::Refused { .. }), "{bad}: {error}");
        }
    }
}
