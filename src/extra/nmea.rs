//! Speed and course out of a GPS receiver's sentences: RMC and VTG of NMEA 0183, from any talker (GP, GN, GL, GA, ...).
//!
//! ```text
//! $GNRMC,120000.00,A,4807.038,N,01131.000,E,022.4,084.4,221126,,,A*hh     A: a fix, V: none; knots, degrees
//! $GPVTG,084.4,T,,M,022.4,N,041.5,K,A*hh                                   degrees, knots, km/h; N at the end: not valid
//! ```
//! Only a sentence whose checksum is there and right counts: a speed with a flipped bit is worse than none. A void fix (RMC `V`,
//! mode `N`, empty fields) says that the receiver does not know. A course is often left empty at a standstill, beside a good speed.
//! Everything else a receiver says (GGA, GSV, its maker's own) is passed over.

use super::listen::Device;
use crate::report::port::{self, Flow, Port, PortError};
use crate::report::queries::LineAssembler;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// One knot in m/s (1852 m an hour).
const KNOT: f32 = 1852.0 / 3600.0;
/// Fastest speed taken, m/s: receivers for everybody stop at 515 (1000 knots).
const FASTEST: f32 = 600.0;
/// Longest sentence taken, line end left out. The standard says 80; some receivers write more digits than it allows.
pub const MAX_SENTENCE: usize = 126;

/// What a receiver tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Over ground, m/s.
    Speed,
    /// Over ground, degrees from true north, 0 to 360.
    Course,
}

impl Field {
    /// How many there are.
    pub const COUNT: usize = 2;

    /// By the word in a spec.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "speed" => Some(Self::Speed),
            "course" => Some(Self::Course),
            _ => None,
        }
    }
}

/// Speed (m/s) and course (degrees), in the order of [`Field`]; each `None` where the receiver does not know.
pub type Motion = [Option<f32>; Field::COUNT];

/// What a line (without its end) says; `None` where it is damaged, or speaks of something else.
pub fn motion(line: &[u8]) -> Option<Motion> {
    if line.len() > MAX_SENTENCE || !line.iter().all(|b| (0x20..0x7f).contains(b)) {
        return None;
    }
    let inner = std::str::from_utf8(line).ok()?.strip_prefix('$')?;
    let (payload, sum) = inner.rsplit_once('*')?;
    let digits = sum.len() == 2 && sum.bytes().all(|b| b.is_ascii_hexdigit());
    let xor = payload.bytes().fold(0, |sum, b| sum ^ b);
    // Two lines that ran into each other have a second `$`, and may by chance have the right sum.
    if !digits || u8::from_str_radix(sum, 16) != Ok(xor) || payload.contains(['$', '*']) {
        return None;
    }
    let mut fields = [""; 16];
    // What comes after the sixteenth is of no interest.
    fields.iter_mut().zip(payload.split(',')).for_each(|(field, text)| *field = text);
    match fields[0].get(2..).filter(|_| fields[0].len() == 5 && !fields[0].starts_with('P')) {
        Some("RMC") => Some(rmc(&fields)),
        Some("VTG") => vtg(&fields),
        _ => None,
    }
}

fn rmc(f: &[&str; 16]) -> Motion {
    // The mode came with NMEA 2.3; older receivers have none.
    if f[2] != "A" || f[12] == "N" { [None, None] } else { [speed(f[7], KNOT), course(f[8])] }
}

fn vtg(f: &[&str; 16]) -> Option<Motion> {
    // Before NMEA 2.0 the units were left out; such receivers write RMC as well.
    if f[2] != "T" || f[6] != "N" || f[8] != "K" {
        return None;
    }
    let motion = [speed(f[5], KNOT).or(speed(f[7], 1.0 / 3.6)), course(f[1])];
    Some(if f[9] == "N" { [None, None] } else { motion })
}

fn speed(text: &str, unit: f32) -> Option<f32> {
    number(text).map(|v| v * unit).filter(|v| *v <= FASTEST)
}

fn course(text: &str) -> Option<f32> {
    number(text).filter(|v| *v <= 360.0)
}

/// Digits with at most one point among them: no sign, no exponent, no `inf`.
fn number(text: &str) -> Option<f32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// A receiver on a serial port.
pub(super) struct Receiver {
    path: PathBuf,
    baud: u32,
    /// The device's name under `/dev/serial/by-id`, once it was open.
    lasting: Option<PathBuf>,
    port: Option<Port>,
    lines: LineAssembler,
}

impl Receiver {
    /// On this port, not yet opened.
    pub fn new(path: PathBuf, baud: u32) -> Self {
        Self { path, baud, lasting: None, port: None, lines: LineAssembler::default() }
    }
}

impl Device for Receiver {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn silence(&self) -> &'static str {
        "no RMC or VTG sentence with a fix and a right checksum (no sky, another baud rate?)"
    }

    fn open(&mut self) -> Result<(), PortError> {
        let name = self.lasting.as_ref().filter(|name| name.exists()).unwrap_or(&self.path);
        let port = Port::open(name, self.baud, Flow::None)?;
        self.lasting = port::lasting_name(name, Path::new(port::BY_ID));
        self.lines.reset();
        self.port = Some(port);
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.port.as_ref().map(Port::fd)
    }

    fn read(&mut self, heard: &mut dyn FnMut(&[f32])) -> Result<(), String> {
        let Some(port) = &self.port else { return Ok(()) };
        let mut bytes = [0; 256];
        // Bounded, so that a flood cannot keep the thread from looking up.
        for _ in 0..16 {
            let bytes = port.read(&mut bytes).map_err(|e| format!("went away ({e})"))?;
            if bytes.is_empty() {
                break;
            }
            self.lines.feed(bytes, |line| {
                if let Some(motion) = motion(line) {
                    heard(&motion.map(|v| v.unwrap_or(f32::NAN)));
                }
            });
        }
        Ok(())
    }

    fn close(&mut self) {
        self.port = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(body: &str) -> String {
        format!("${body}*{:02X}", body.bytes().fold(0, |sum, b| sum ^ b))
    }

    fn said(body: &str) -> Option<Motion> {
        motion(sealed(body).as_bytes())
    }

    #[test]
    fn what_receivers_write_is_read() {
        // The example every description of NMEA 0183 begins with, checksum as printed there.
        let known = motion(b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A").unwrap();
        assert!((known[0].unwrap() - 11.5236).abs() < 1e-3 && known[1] == Some(84.4), "{known:?}");
        let vtg = motion(b"$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K*48").unwrap();
        assert!((vtg[0].unwrap() - 2.8294).abs() < 1e-3 && vtg[1] == Some(54.7), "{vtg:?}");
        for talker in ["GP", "GN", "GL", "GA", "GB", "BD", "QZ", "II"] {
            assert!(said(&format!("{talker}RMC,1,A,,,,,10,20,,,,A")).is_some_and(|m| m[1] == Some(20.0)), "{talker}");
        }
        assert_eq!(said("GNVTG,,T,,M,,N,36.0,K,D"), Some([Some(10.0), None]), "km/h alone");
    }

    #[test]
    fn what_a_receiver_does_not_know_is_missing() {
        for body in
            ["GPRMC,1,V,,,,,,,,,,N", "GPRMC,1,V,1,N,1,E,3.0,4.0,1,,", "GPRMC,1,A,,,,,3.0,4.0,,,,N", "GNVTG,4,T,,M,3,N,5,K,N"]
        {
            assert_eq!(said(body), Some([None, None]), "{body}");
        }
        assert_eq!(said("GPRMC,1,A,,,,,0.00,,,,,A"), Some([Some(0.0), None]), "standing still");
        for bad in ["-3", "1e3", "inf", "nan", ".", "1.2.3", "99999"] {
            assert_eq!(said(&format!("GPRMC,1,A,,,,,{bad},361,,,,A")).map(|m| m[0]), Some(None), "{bad}");
        }
        assert_eq!(said("GPRMC"), Some([None, None]), "cut short, with a checksum of its own");
    }

    #[test]
    fn what_is_damaged_or_not_meant_for_us_is_passed_over() {
        let good = sealed("GPRMC,1,A,,,,,10,20,,,,A");
        for n in 0..good.len() {
            // One bit in the first digit of the speed, or anywhere else.
            let mut bytes = good.clone().into_bytes();
            bytes[n] ^= 1;
            assert_eq!(motion(&bytes), None, "byte {n}");
            assert_eq!(motion(&good.as_bytes()[..n]), None, "cut at {n}");
        }
        assert_eq!(motion(format!("{good}{good}").as_bytes()), None);
        for body in ["GPGGA,1,A", "PUBX,00,RMC", "PGRMC,1,A,,,,,10,20", "GPRMCX,1,A", "GPVTG,84,84,22,41", ""] {
            assert_eq!(said(body), None, "{body}");
        }
        assert_eq!(motion(sealed(&format!("GPRMC,1,A,,,,,10,20,,,,A,{}", "x".repeat(120))).as_bytes()), None);
    }
}
