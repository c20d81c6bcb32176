//! What systemd is told: ready, stopping, that we are alive, and that it will take a while. Protocol: sd_notify(3).
//!
//! One socket, opened once: nothing is allocated and nothing looked up per ping. Two pings a second are enough, however often the
//! caller has a reason.

use crate::source::Timestamp;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Time between two pings; systemd wants one in less than half of WatchdogSec (4 s).
const PERIOD: Duration = Duration::from_millis(500);

/// See the module's documentation. Without a service manager it says nothing.
pub struct Notifier {
    socket: Option<UnixDatagram>,
    last: Option<Timestamp>,
    is_ready: bool,
}

impl Notifier {
    pub fn open() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.to_str().and_then(|n| n.strip_prefix('@')) {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            // A manager that reads nothing for a while must not hold up inference.
            socket.set_nonblocking(true).ok()?;
            let connected = address.and_then(|a| socket.connect_addr(&a));
            connected.inspect_err(|e| log::warn!("NOTIFY_SOCKET={}: {e}", name.to_string_lossy())).ok()?;
            Some(socket)
        });
        Self { socket, last: None, is_ready: false }
    }

    /// Everything that can be open is open. Said once.
    pub fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_ready, true) {
            self.say(b"READY=1");
        }
    }

    /// What comes now may take this long without a ping, before we are ready as well as after: systemd puts off whichever limit holds, TimeoutStartSec
    /// or WatchdogSec, if it is nearer than this. The next ping makes it WatchdogSec again.
    pub fn busy(&self, most: Duration) {
        self.say(format!("EXTEND_TIMEOUT_USEC={}", most.as_micros()).as_bytes());
    }

    /// We were told to stop.
    pub fn stopping(&self) {
        self.say(b"STOPPING=1");
    }

    /// Is it time for a ping?
    pub fn is_due(&self) -> bool {
        self.last.is_none_or(|last| Timestamp::now().since(last) >= PERIOD)
    }

    /// There is proof that every thread is at work.
    pub fn alive(&mut self) {
        self.last = Some(Timestamp::now());
        self.say(b"WATCHDOG=1");
    }

    fn say(&self, what: &[u8]) {
        // A message that does not go out is repeated (a ping) or missed by nobody.
        let _ = self.socket.as_ref().map(|s| s.send(what));
    }
}
