//! V4L2's system calls: what a node is, what it offers, setting it, and buffers shared with the driver.
//!
//! The numbers and structures are those of the crate `v4l`. Its own wrappers are not used here, for three reasons found
//! by reading 0.14: they panic on what a device may well say (a card name cut inside a UTF-8 character, a colour space
//! newer than the crate), in `Drop` and with a NUL in a path; their stream queues its buffer again after a time-out and
//! then fails for ever; and it gives no way to take the newest of several ready frames.
//!
//! Invariant: of a buffer that the driver may be writing to no byte is lent. `Map::queued` says which those are; it changes through
//! `&mut Stream` alone, and a driver that gives what it does not have is not believed. A [`Filled`] is made by [`Stream::dequeue`],
//! cannot be copied, and is eaten by [`Stream::give_back`].
//!
//! Follows <https://docs.kernel.org/userspace-api/media/v4l/v4l2.html>.
#![allow(unsafe_code)]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use v4l::v4l_sys as sys;
use v4l::v4l2::{self, vidioc};

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`: single-planar capture.
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`
const MMAP: u32 = 1;
/// `V4L2_FIELD_NONE`: whole pictures, not interlaced.
const PROGRESSIVE: u32 = 1;
/// `V4L2_CAP_TIMEPERFRAME`: the driver lets the rate be set.
const TIME_PER_FRAME: u32 = 0x1000;
/// `PROT_READ` and `MAP_SHARED` of `<sys/mman.h>`, the same on every Linux.
const PROT_READ: i32 = 1;
const MAP_SHARED: i32 = 1;
/// More formats, sizes or rates than any camera has: the end of an enumeration that does not end.
const MAX_ENUM: u32 = 256;

/// Four bytes that name a pixel format, as the driver writes them.
pub type Fourcc = [u8; 4];

/// What a node says about itself.
#[derive(Clone, Debug)]
pub struct Capability {
    /// Kernel driver, e.g. `uvcvideo`.
    pub driver: String,
    /// Product name.
    pub card: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Single-planar capture through this very node.
    pub captures: bool,
    /// Capture through the multi-planar interface only.
    pub multi_planar: bool,
    /// Memory-mapped buffers.
    pub streams: bool,
}

/// Sizes that a format comes in, in pixels. A single size has equal ends and a step of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// Smallest, largest and step of the width.
    pub width: (u32, u32, u32),
    /// Smallest, largest and step of the height.
    pub height: (u32, u32, u32),
}

/// Seconds between two frames, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Numerator, seconds.
    pub num: u32,
    /// Denominator.
    pub den: u32,
}

/// Shortest and longest time between two frames; equal for a single rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalRange {
    /// Fastest.
    pub min: Interval,
    /// Slowest.
    pub max: Interval,
}

/// What the driver really does after being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Bytes from one row to the next (luma plane); 0 for compressed formats.
    pub stride_bytes: u32,
}

/// An open video node. Closed when dropped.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

/// One `ioctl` on `fd` with `arg`, again when a signal cut it short.
fn call<T>(fd: &OwnedFd, request: vidioc::_IOC_TYPE, arg: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: every caller in this file pairs `request` with the structure that its number was made from (`vidioc`
        // encodes the size, and the kernel copies exactly that many bytes); `arg` is borrowed for the whole call, and
        // none of the structures passed here holds a pointer that the kernel follows.
        let done = unsafe { v4l2::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(arg).cast::<c_void>()) };
        match done {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Text from a fixed field: up to the first NUL, odd bytes replaced.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).trim().to_owned()
}

fn fract(f: sys::v4l2_fract) -> Interval {
    Interval { num: f.numerator, den: f.denominator }
}

impl Device {
    /// Opens a node without blocking later calls.
    ///
    /// # Errors
    /// What `open` says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    /// What the node is.
    ///
    /// # Errors
    /// `ENOTTY` where it is no video node.
    pub fn capability(&self) -> io::Result<Capability> {
        let mut c = sys::v4l2_capability::default();
        call(&self.fd, vidioc::VIDIOC_QUERYCAP, &mut c)?;
        // Old drivers fill `capabilities` only; `device_caps` is about this node, not about its siblings.
        let caps = if c.capabilities & 0x8000_0000 != 0 { c.device_caps } else { c.capabilities };
        Ok(Capability {
            driver: text(&c.driver),
            card: text(&c.card),
            bus: text(&c.bus_info),
            captures: caps & 0x1 != 0,
            multi_planar: caps & 0x1000 != 0,
            streams: caps & 0x0400_0000 != 0,
        })
    }

    /// Pixel formats, in the driver's order.
    pub fn formats(&self) -> Vec<Fourcc> {
        let mut list = Vec::new();
        for index in 0..MAX_ENUM {
            let mut d = sys::v4l2_fmtdesc { index, type_: CAPTURE, ..Default::default() };
            if call(&self.fd, vidioc::VIDIOC_ENUM_FMT, &mut d).is_err() {
                break;
            }
            list.push(d.pixelformat.to_le_bytes());
        }
        list
    }

    /// Sizes of one format; empty where the driver does not say.
    pub fn sizes(&self, fourcc: Fourcc) -> Vec<SizeRange> {
        let mut list = Vec::new();
        for index in 0..MAX_ENUM {
            let mut e = sys::v4l2_frmsizeenum { index, pixel_format: u32::from_le_bytes(fourcc), ..Default::default() };
            if call(&self.fd, vidioc::VIDIOC_ENUM_FRAMESIZES, &mut e).is_err() {
                break;
            }
            if e.type_ == 1 {
                // SAFETY: type 1 says that the driver filled `discrete`; both members are plain integers.
                let d = unsafe { e.__bindgen_anon_1.discrete };
                list.push(SizeRange { width: (d.width, d.width, 0), height: (d.height, d.height, 0) });
            } else {
                // SAFETY: any other type fills `stepwise`; plain integers, and zeroed before the call.
                let s = unsafe { e.__bindgen_anon_1.stepwise };
                list.push(SizeRange {
                    width: (s.min_width, s.max_width, s.step_width),
                    height: (s.min_height, s.max_height, s.step_height),
                });
                break; // one range is all there is
            }
        }
        list
    }

    /// Rates of one format and size; empty where the driver does not say.
    pub fn intervals(&self, fourcc: Fourcc, width: u32, height: u32) -> Vec<IntervalRange> {
        let mut list = Vec::new();
        for index in 0..MAX_ENUM {
            let pixel_format = u32::from_le_bytes(fourcc);
            let mut e = sys::v4l2_frmivalenum { index, pixel_format, width, height, ..Default::default() };
            if call(&self.fd, vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut e).is_err() {
                break;
            }
            if e.type_ == 1 {
                // SAFETY: type 1 says that the driver filled `discrete`; plain integers.
                let one = fract(unsafe { e.__bindgen_anon_1.discrete });
                list.push(IntervalRange { min: one, max: one });
            } else {
                // SAFETY: any other type fills `stepwise`; plain integers, and zeroed before the call.
                let s = unsafe { e.__bindgen_anon_1.stepwise };
                list.push(IntervalRange { min: fract(s.min), max: fract(s.max) });
                break;
            }
        }
        list
    }

    /// Asks for a format and says what was granted. Stride and image size are left for the driver to fill.
    ///
    /// # Errors
    /// `EBUSY` while somebody else streams; `EINVAL` where the format is unknown.
    pub fn set_format(&self, fourcc: Fourcc, width: u32, height: u32) -> io::Result<Granted> {
        let mut f = sys::v4l2_format { type_: CAPTURE, ..Default::default() };
        f.fmt.pix = sys::v4l2_pix_format {
            width,
            height,
            pixelformat: u32::from_le_bytes(fourcc),
            field: PROGRESSIVE,
            ..Default::default()
        };
        call(&self.fd, vidioc::VIDIOC_S_FMT, &mut f)?;
        // SAFETY: `type_` is CAPTURE, for which the driver fills `pix`; plain integers.
        let p = unsafe { f.fmt.pix };
        Ok(Granted { width: p.width, height: p.height, fourcc: p.pixelformat.to_le_bytes(), stride_bytes: p.bytesperline })
    }

    /// Asks for a rate and says what was granted; `None` where the driver has no say in it. Call after `set_format`:
    /// a new format may put the rate back to the driver's own.
    ///
    /// # Errors
    /// What the driver says, other than that it cannot do this at all.
    pub fn set_interval(&self, wish: Option<Interval>) -> io::Result<Option<Interval>> {
        let mut p = sys::v4l2_streamparm { type_: CAPTURE, ..Default::default() };
        match call(&self.fd, vidioc::VIDIOC_G_PARM, &mut p) {
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOTTY | Errno::INVAL)) => return Ok(None),
            other => other?,
        }
        // SAFETY: `type_` is CAPTURE, for which the driver fills `capture`; plain integers.
        let now = unsafe { p.parm.capture };
        let Some(wish) = wish.filter(|_| now.capability & TIME_PER_FRAME != 0) else {
            return Ok(Some(fract(now.timeperframe)).filter(|i| i.num > 0 && i.den > 0));
        };
        let mut p = sys::v4l2_streamparm { type_: CAPTURE, ..Default::default() };
        p.parm.capture = sys::v4l2_captureparm {
            timeperframe: sys::v4l2_fract { numerator: wish.num, denominator: wish.den },
            ..Default::default()
        };
        call(&self.fd, vidioc::VIDIOC_S_PARM, &mut p)?;
        // SAFETY: as above.
        let granted = fract(unsafe { p.parm.capture.timeperframe });
        Ok(Some(granted).filter(|i| i.num > 0 && i.den > 0))
    }
}

/// Pages of one buffer, shared with the driver. Unmapped when dropped.
#[derive(Debug)]
struct Map {
    at: *mut c_void,
    bytes: usize,
    /// The driver may have it.
    queued: bool,
}

// SAFETY: the mapping belongs to the process, not to a thread; `Map` is the only holder of the pointer.
unsafe impl Send for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `at` and `bytes` come from one successful mmap, and this runs once; slices of it borrow the `Stream`
        // that owns this map, so none is alive.
        if let Err(e) = unsafe { v4l2::munmap(self.at, self.bytes) } {
            log::debug!("unmapping a camera buffer: {e}");
        }
    }
}

/// A buffer that is ours for the moment: filled, and not queued.
#[derive(Debug)]
pub struct Filled {
    index: u32,
    /// Bytes that the driver wrote; never more than the buffer holds.
    pub bytes_used: usize,
    /// The driver flagged the content as damaged.
    pub damaged: bool,
    /// The driver's stamp in ns, where it is of the monotonic clock.
    pub monotonic_ns: Option<u64>,
    /// The driver's frame counter.
    pub sequence: u32,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A frame, or an error that the next `dequeue` will tell.
    Yes,
    /// Nothing within the time.
    No,
}

/// A node with buffers mapped. Fields drop in this order: pages first, then the descriptor.
#[derive(Debug)]
pub struct Stream {
    maps: Vec<Map>,
    device: Device,
    on: bool,
}

impl Stream {
    /// Asks the driver for `count` buffers (it may give another number, at least 2) and maps them.
    ///
    /// # Errors
    /// `EBUSY` while somebody else has buffers; `ENOMEM`; `ENODEV`.
    pub fn map(device: Device, count: u32) -> io::Result<Self> {
        let mut r = sys::v4l2_requestbuffers { count, type_: CAPTURE, memory: MMAP, ..Default::default() };
        call(&device.fd, vidioc::VIDIOC_REQBUFS, &mut r)?;
        let mut stream = Self { maps: Vec::new(), device, on: false };
        if r.count < 2 {
            return Err(io::Error::other(format!("{} buffers given, at least 2 are needed", r.count)));
        }
        for index in 0..r.count {
            let mut b = sys::v4l2_buffer { index, type_: CAPTURE, memory: MMAP, ..Default::default() };
            call(&stream.device.fd, vidioc::VIDIOC_QUERYBUF, &mut b)?;
            let bytes = b.length as usize;
            // SAFETY: memory is MMAP, for which the driver fills `offset`.
            let offset = unsafe { b.m.offset };
            let fd = stream.device.fd.as_raw_fd();
            // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory; length and offset are
            // the driver's own, and the descriptor is open.
            let at = unsafe { v4l2::mmap(std::ptr::null_mut(), bytes, PROT_READ, MAP_SHARED, fd, i64::from(offset))? };
            stream.maps.push(Map { at, bytes, queued: false });
        }
        Ok(stream)
    }

    /// Queues every buffer that the driver cannot have and starts the camera. A [`Filled`] from before is empty from then on.
    ///
    /// # Errors
    /// `ENOSPC` where the bus has no bandwidth left; what the driver says otherwise.
    pub fn start(&mut self) -> io::Result<()> {
        for index in 0..self.maps.len() {
            self.queue(index as u32)?;
        }
        let mut kind = CAPTURE;
        call(&self.device.fd, vidioc::VIDIOC_STREAMON, &mut kind)?;
        self.on = true;
        Ok(())
    }

    /// Has the camera been started.
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Buffers in all.
    pub fn buffers(&self) -> usize {
        self.maps.len()
    }

    /// Waits until a frame is ready or the device has something to complain about. Signals do not shorten the wait.
    ///
    /// # Errors
    /// What `poll` says.
    pub fn wait(&self, limit: Duration) -> io::Result<Ready> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.device.fd.as_fd(), PollFlags::IN)], Some(&left)) {
                Ok(0) => return Ok(Ready::No),
                Ok(_) => return Ok(Ready::Yes),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes the oldest filled buffer, or `None` when none is ready.
    ///
    /// # Errors
    /// `ENODEV` when the device went, `EIO` when its stream broke; a sentence where the driver gives a buffer that it does not have.
    pub fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let mut b = sys::v4l2_buffer { type_: CAPTURE, memory: MMAP, ..Default::default() };
        match call(&self.device.fd, vidioc::VIDIOC_DQBUF, &mut b) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        }
        let count = self.maps.len();
        let Some(map) = self.maps.get_mut(b.index as usize).filter(|map| map.queued) else {
            return Err(io::Error::other(format!("the driver gave buffer {} of {count}, expected one that it has", b.index)));
        };
        map.queued = false;
        let micros = b.timestamp.tv_sec.checked_mul(1_000_000).and_then(|s| s.checked_add(b.timestamp.tv_usec));
        let ns = micros.and_then(|us| u64::try_from(us).ok()).and_then(|us| us.checked_mul(1_000));
        Ok(Some(Filled {
            index: b.index,
            bytes_used: (b.bytesused as usize).min(map.bytes),
            damaged: b.flags & 0x40 != 0,
            monotonic_ns: ns.filter(|&ns| b.flags & 0xe000 == 0x2000 && ns > 0),
            sequence: b.sequence,
        }))
    }

    /// What the driver wrote into a buffer that is ours; empty where it is not.
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        let Some(map) = self.maps.get(filled.index as usize).filter(|map| !map.queued) else { return &[] };
        let len = filled.bytes_used.min(map.bytes);
        // SAFETY: the pages are mapped readable for `map.bytes` >= `len` bytes for as long as `self` lives. The driver
        // writes only to queued buffers; this one is not queued (module invariant), and queueing needs `&mut self`, so it
        // is not while the slice lives either.
        unsafe { std::slice::from_raw_parts(map.at.cast::<u8>(), len) }
    }

    /// Hands a buffer to the driver to be filled again.
    ///
    /// # Errors
    /// What the driver says; the buffer is lost to this stream then.
    pub fn give_back(&mut self, filled: Filled) -> io::Result<()> {
        self.queue(filled.index)
    }

    /// Nothing where the driver has it already.
    fn queue(&mut self, index: u32) -> io::Result<()> {
        let Some(map) = self.maps.get_mut(index as usize).filter(|map| !map.queued) else { return Ok(()) };
        // Also where the call fails: a buffer less is better than one that is written to while it is read.
        map.queued = true;
        let mut b = sys::v4l2_buffer { index, type_: CAPTURE, memory: MMAP, ..Default::default() };
        call(&self.device.fd, vidioc::VIDIOC_QBUF, &mut b)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.on {
            let mut kind = CAPTURE;
            if let Err(e) = call(&self.device.fd, vidioc::VIDIOC_STREAMOFF, &mut kind) {
                log::debug!("stopping the camera: {e}"); // gone already, as after an unplug
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in the place of a driver: it cannot be asked for anything, but its pages are mapped.
    #[test]
    fn bytes_are_lent_only_of_a_buffer_that_the_driver_does_not_have() {
        let path = std::env::temp_dir().join(format!("lookout-video-{}", std::process::id()));
        std::fs::write(&path, b"abcd").unwrap();
        let device = Device::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory; the descriptor is open, and `Map` unmaps it.
        let at = unsafe { v4l2::mmap(std::ptr::null_mut(), 4, PROT_READ, MAP_SHARED, device.fd.as_raw_fd(), 0).unwrap() };
        let mut stream = Stream { maps: vec![Map { at, bytes: 4, queued: false }], device, on: false };
        let filled = |index| Filled { index, bytes_used: 9, damaged: false, monotonic_ns: None, sequence: 0 };
        assert_eq!((stream.bytes(&filled(0)), stream.bytes(&filled(1))), (&b"abcd"[..], &b""[..]));
        assert!(stream.start().is_err(), "a file does not start");
        assert!(stream.bytes(&filled(0)).is_empty(), "the driver may have it now");
    }
}
