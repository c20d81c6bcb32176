//! `[extra]` in the configuration: where each name's numbers come from.
//!
//! | text | what |
//! |---|---|
//! | `nmea:/dev/ttyUSB0,9600,speed` | speed over ground in m/s, from RMC and VTG; baud 9600 if not said |
//! | `nmea:/dev/ttyUSB0,9600,course` | course over ground in degrees from true north, 0 to 360 |
//! | `rows:/run/imu,3` | the third number of each row; the first if not said |
//! | `none` | this box has none: always missing, and no word about it |
//!
//! For the names `speed` and `course` the last word of `nmea:` may be left out.

use super::nmea::Field;
use std::path::PathBuf;

/// Baud rate of a receiver where none is given: what nearly all are set to when they are bought.
pub const DEFAULT_BAUD: u32 = 9_600;
/// Numbers in a row at most.
pub const MAX_COLUMN: usize = 64;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A receiver on a serial port.
    Nmea {
        /// The port, best as `/dev/serial/by-id/...`.
        path: PathBuf,
        /// Bits a second, 8N1.
        baud: u32,
        /// Which of its numbers.
        field: Field,
    },
    /// Rows of numbers from a FIFO or file.
    Rows {
        /// The FIFO or file.
        path: PathBuf,
        /// Which number, from 0.
        column: usize,
    },
    /// Nothing.
    None,
}

impl Spec {
    /// What `text` says about the extra `name`.
    ///
    /// # Errors
    /// A sentence: what stands there and what is expected.
    pub fn read(name: &str, text: &str) -> Result<Self, String> {
        // A console's line is short, whatever somebody wrote there.
        let shown: String = text.chars().take(80).collect();
        let refuse = |why: &str| Err(format!("extra.{name} = {shown:?}, {why}"));
        if text == "none" {
            return Ok(Self::None);
        }
        match text.split_once(':') {
            Some(("nmea", rest)) => {
                let mut rest = rest;
                let mut field = Field::named(name);
                if let Some((front, said)) = rest.rsplit_once(',').and_then(|(front, word)| Some((front, Field::named(word)?))) {
                    (rest, field) = (front, Some(said));
                }
                let (path, baud) = rest.rsplit_once(',').map_or((rest, None), |(path, baud)| (path, Some(baud)));
                let baud = baud.map_or(Ok(DEFAULT_BAUD), str::parse);
                match (baud, field) {
                    _ if !path.starts_with('/') => refuse("a path from / is missing, as in `nmea:/dev/ttyUSB0,9600,speed`"),
                    (Ok(baud @ 300..=4_000_000), Some(field)) => Ok(Self::Nmea { path: path.into(), baud, field }),
                    (Ok(300..=4_000_000), None) => refuse("`,speed` or `,course` expected at the end"),
                    _ => refuse("the baud rate has to be a number from 300 to 4000000, as in `nmea:/dev/ttyUSB0,9600,speed`"),
                }
            }
            Some(("rows", rest)) => {
                let (path, column) = match rest.rsplit_once(',') {
                    Some((path, column)) => (path, column.parse::<usize>().ok()),
                    None => (rest, Some(1)),
                };
                match column {
                    _ if !path.starts_with('/') => refuse("a path from / is missing, as in `rows:/run/imu,1`"),
                    Some(column @ 1..=MAX_COLUMN) => Ok(Self::Rows { path: path.into(), column: column - 1 }),
                    _ => refuse("which number of a row has to be 1 to 64, as in `rows:/run/imu,1`"),
                }
            }
            _ => refuse("expected `nmea:PORT,BAUD,speed|course`, `rows:PATH,COLUMN` or `none`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read() {
        let nmea = |path: &str, baud, field| Ok(Spec::Nmea { path: path.into(), baud, field });
        let rows = |path: &str, column| Ok(Spec::Rows { path: path.into(), column });
        for (name, text, spec) in [
            ("speed", "nmea:/dev/ttyUSB0", nmea("/dev/ttyUSB0", 9_600, Field::Speed)),
            ("course", "nmea:/dev/ttyUSB0,4800", nmea("/dev/ttyUSB0", 4_800, Field::Course)),
            ("heading", "nmea:/dev/a,b,38400,course", nmea("/dev/a,b", 38_400, Field::Course)),
            ("v", "nmea:/dev/ttyS1,speed", nmea("/dev/ttyS1", 9_600, Field::Speed)),
            ("audio", "rows:/run/audio", rows("/run/audio", 0)),
            ("gyro", "rows:/run/imu,3", rows("/run/imu", 2)),
            ("speed", "none", Ok(Spec::None)),
        ] {
            assert_eq!(Spec::read(name, text), spec, "{text}");
        }
        for (name, text, why) in [
            ("heading", "nmea:/dev/ttyS0,9600", "`,speed` or `,course`"),
            ("speed", "nmea:/dev/ttyS0,0", "baud rate"),
            ("speed", "nmea:ttyS0", "a path from /"),
            ("a", "rows:/run/imu,0", "1 to 64"),
            ("a", "rows:/run/imu,x", "1 to 64"),
            ("a", "rows:,1", "a path from /"),
            ("a", "", "expected `nmea:"),
            ("a", "gps:/dev/x", "extra.a = \"gps:/dev/x\", expected"),
        ] {
            let found = Spec::read(name, text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
