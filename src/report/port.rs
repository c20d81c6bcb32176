//! A serial port that never makes anybody wait.
//!
//! The crate `serialport` knows how to set up a port on every board (any baud rate, raw mode, exclusive use) but its
//! writes may block longer than their time-out and its flush has none. So it opens and sets the port, and the bytes go
//! through a second, non-blocking descriptor of the same device.

use rustix::fs::{Access, Mode, OFlags, access};
use rustix::io::Errno;
use serialport::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort, StopBits, TTYPort};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where udev keeps names that survive another order of plugging in.
pub(crate) const BY_ID: &str = "/dev/serial/by-id";

/// What is said of a port that this user may not open.
const DENIED: &str = "may not be opened: add the user to the group of the device (`dialout` on Debian)";

/// Who says when we may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Nobody: three wires, on which CTS hangs in the air and must mean nothing.
    None,
    /// The other end, by CTS, as a radio does whose air is slower than its wire; RTS says the same of us.
    RtsCts,
}

/// Why a port cannot be opened.
#[derive(Debug)]
pub(crate) enum PortError {
    /// It never will be as asked.
    Never(String),
    /// Not now: try again.
    NotNow(String),
}

/// An open port: raw, 8N1, exclusive, non-blocking.
pub(crate) struct Port {
    /// Keeps the lock and the settings.
    settings: TTYPort,
    fd: OwnedFd,
}

impl Port {
    pub fn open(path: &Path, baud: u32, flow: Flow) -> Result<Self, PortError> {
        // Before it is opened: whatever we set would be set for the kernel too.
        if path.canonicalize().is_ok_and(|device| is_console(&device, &consoles())) {
            return Err(PortError::Never(
                "is the kernel's console, whose messages would mix with reports and where a BREAK is a command to the kernel; \
                 take it out of the kernel's command line (console=...) or name another port"
                    .into(),
            ));
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => PortError::NotNow("is not there".into()),
            Errno::BUSY => PortError::NotNow("is used by another program".into()),
            // The kernel makes it root's, and udev gives it to its group a while later.
            Errno::ACCESS | Errno::PERM => PortError::NotNow(DENIED.into()),
            Errno::ISDIR => PortError::Never("is a directory, a serial port expected".into()),
            e => PortError::NotNow(format!("cannot be opened: {e}")),
        })?;
        if !rustix::termios::isatty(&fd) {
            return Err(PortError::Never("is not a serial port".into()));
        }
        let settings = serialport::new(path.to_string_lossy(), baud)
            .data_bits(DataBits::Eight)
            .parity(Parity::None)
            .stop_bits(StopBits::One)
            .flow_control(match flow {
                Flow::None => FlowControl::None,
                Flow::RtsCts => FlowControl::Hardware,
            })
            .exclusive(true)
            .timeout(Duration::ZERO);
        match TTYPort::open(&settings) {
            Ok(settings) => Ok(Self { settings, fd }),
            Err(e) if e.kind() == serialport::ErrorKind::InvalidInput => {
                Err(PortError::Never(format!("cannot be set to {baud} baud: {e}")))
            }
            Err(e) => Err(PortError::NotNow(format!("cannot be set up or is used by another program: {e}"))),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// As many bytes as go in now, maybe none. An error means that the port is lost.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match rustix::io::write(&self.fd, bytes) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            other => other,
        }
    }

    /// What has come in, maybe nothing. An error means that the port is lost.
    pub fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        match rustix::io::read(&self.fd, &mut *buffer) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(&[]),
            // In raw mode a read of nothing is a hang-up.
            Ok(0) => Err(Errno::PIPE),
            Ok(n) => Ok(&buffer[..n]),
            Err(e) => Err(e),
        }
    }

    /// Bytes that the kernel has taken and the wire has not.
    pub fn unsent(&self) -> u32 {
        self.settings.bytes_to_write().unwrap_or(0)
    }

    /// Drops what the wire has not taken: closing the port would wait for it, for up to half a minute.
    pub fn discard(&self) {
        // Nothing can be done about a failure while closing.
        let _ = self.settings.clear(ClearBuffer::Output);
    }
}

/// What is said where this user may not open the port; it is not opened.
pub(crate) fn denied(path: &Path) -> Option<&'static str> {
    let found = access(path, Access::READ_OK | Access::WRITE_OK);
    matches!(found, Err(Errno::ACCESS | Errno::PERM)).then_some(DENIED)
}

/// The kernel's list of its consoles.
fn consoles() -> String {
    std::fs::read_to_string("/proc/consoles").unwrap_or_default()
}

/// Does `list`, as in /proc/consoles, begin a line with this device's name?
fn is_console(device: &Path, list: &str) -> bool {
    let name = device.file_name().and_then(|n| n.to_str());
    // Consoles that are no serial port (a screen, a hypervisor's) have other names than any port.
    device.starts_with("/dev") && name.is_some_and(|name| list.lines().any(|l| l.split_whitespace().next() == Some(name)))
}

/// The name in `by_id` that leads to the same device as `path`, for a device whose number may change.
pub(crate) fn lasting_name(path: &Path, by_id: &Path) -> Option<PathBuf> {
    let device = path.canonicalize().ok()?;
    let mut names: Vec<_> = std::fs::read_dir(by_id).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    names.into_iter().find(|name| name.canonicalize().is_ok_and(|target| target == device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_port_is_refused_and_what_is_absent_is_awaited() {
        let why = |path: &str| match Port::open(Path::new(path), 9_600, Flow::None).err() {
            Some(PortError::Never(why)) => format!("never: {why}"),
            Some(PortError::NotNow(why)) => format!("not now: {why}"),
            None => "open".into(),
        };
        assert_eq!(why("/dev/does-not-exist"), "not now: is not there");
        assert_eq!(why("/dev/null"), "never: is not a serial port");
        assert_eq!(why("/tmp"), "never: is a directory, a serial port expected");
    }

    #[test]
    fn the_kernels_console_is_known_by_its_name() {
        let list = "ttyS0                -W- (EC p a)    4:64\ntty0                 -WU (EC  p  )    4:7\n";
        let is = |path: &str| is_console(Path::new(path), list);
        assert_eq!([is("/dev/ttyS0"), is("/dev/ttyS1"), is("/dev/ttyS"), is("/tmp/ttyS0")], [true, false, false, false]);
    }

    #[test]
    fn lasting_name_is_the_link_to_the_same_device() {
        let dir = std::env::temp_dir().join(format!("lookout-by-id-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("by-id")).unwrap();
        for (name, target) in [("usb-a", "../ttyUSB0"), ("usb-b", "../ttyUSB1")] {
            std::fs::write(dir.join(&target[3..]), "").unwrap();
            std::os::unix::fs::symlink(target, dir.join("by-id").join(name)).unwrap();
        }
        let found = lasting_name(&dir.join("ttyUSB1"), &dir.join("by-id"));
        let none = lasting_name(&dir.join("by-id"), &dir.join("by-id"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!((found, none), (Some(dir.join("by-id/usb-b")), None));
    }
}
