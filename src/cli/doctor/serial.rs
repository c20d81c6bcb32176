//! Serial ports: lasting names, rights, and whether the kernel or a login prompt talks on them.
//!
//! Ports are looked at, never opened: opening raises DTR, which resets many boards at the other end.

use super::finding::Finding;
use super::rights;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Names of devices that can be a serial port for reports.
const KINDS: [&str; 8] = ["ttyAMA", "ttyUSB", "ttyACM", "ttyTHS", "ttyS", "ttymxc", "ttyO", "ttyGS"];

/// Lists ports; `needed` must be there and free.
pub fn look(needed: &[PathBuf]) -> Vec<Finding> {
    let (consoles, prompts) = (consoles(), prompts());
    let mut ports = ports();
    let mut found = Vec::new();
    for path in needed {
        let at = path.display();
        match path.canonicalize() {
            Ok(other) if std::fs::metadata(&other).is_ok_and(|meta| !meta.file_type().is_char_device()) => {
                found.push(
                    Finding::broken("serial", 2, format!("{at} is no serial port, and reports go to it")).fix(missing(path)),
                );
            }
            Ok(device) if !ports.contains(&device) => ports.push(device),
            Ok(_) => {}
            Err(_) => {
                found.push(Finding::broken("serial", 1, format!("{at} is not there, and reports go to it")).fix(missing(path)))
            }
        }
    }
    for port in &ports {
        let wanted = needed.iter().any(|p| p.canonicalize().is_ok_and(|d| d == *port));
        found.push(describe(port, wanted, &consoles, &prompts));
    }
    if found.is_empty() {
        found.push(Finding::ok("serial", "no port; reports do not need one"));
    }
    found
}

/// What to do about a port that is not there.
fn missing(path: &Path) -> &'static str {
    match path.to_str().unwrap_or_default() {
        p if p.starts_with("/dev/serial/by-id") || p.contains("ttyUSB") || p.contains("ttyACM") => {
            "plug the adapter in; its lasting name is under /dev/serial/by-id"
        }
        p if p.contains("serial0") || p.contains("ttyAMA") => {
            "switch the UART on: `enable_uart=1` (Raspberry Pi 5: `dtparam=uart0=on`) in /boot/firmware/config.txt, then restart"
        }
        _ => "name one that is there, --report serial:PATH,BAUD or `report` in the configuration",
    }
}

fn describe(port: &Path, needed: bool, consoles: &[String], prompts: &[String]) -> Finding {
    let name = port.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let at = port.display();
    let prompt = prompts.iter().any(|p| p.split_whitespace().any(|word| word.rsplit('/').next() == Some(name.as_str())));
    let mut finding = if !needed && (consoles.contains(&name) || prompt) {
        let whose = if prompt { "a login prompt runs on it" } else { "the kernel's console" };
        Finding::ok("serial", format!("{at}: {whose}, not for reports as it is"))
    } else if consoles.contains(&name) {
        Finding::broken("serial", 1, format!("{at} is the kernel's console: its messages would mix with reports"))
            .fix(format!("take console={name},... (or console=serial0,...) out of the kernel's command line, then restart"))
    } else if prompt {
        let unit = if name.starts_with("ttyTHS") { "nvgetty".into() } else { format!("serial-getty@{name}") };
        Finding::broken("serial", 1, format!("a login prompt runs on {at} and would eat what is sent to us"))
            .fix(format!("`sudo systemctl disable --now {unit}`"))
    } else if let Some((why, fix)) = rights::denied(port) {
        Finding::bad("serial", needed, format!("{at}: {why}")).fix(fix)
    } else if needed {
        Finding::ok("serial", format!("{at} is there and free, reports go to it"))
    } else {
        Finding::ok("serial", at.to_string())
    };
    for link in links(port) {
        finding = finding.more(link);
    }
    finding
}

/// Ports with hardware behind them, in name order.
fn ports() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/sys/class/tty").into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    let serial = names.filter(|n| {
        let number = KINDS.iter().find_map(|k| n.strip_prefix(k));
        number.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    });
    // The PC driver reserves names without hardware; their type is 0 (PORT_UNKNOWN).
    let real = serial.filter(|n| {
        let kind = std::fs::read_to_string(format!("/sys/class/tty/{n}/type"));
        kind.map_or(true, |t| t.trim() != "0")
    });
    let mut found: Vec<PathBuf> = real.map(|n| Path::new("/dev").join(n)).filter(|p| p.exists()).collect();
    found.sort();
    found
}

/// Lasting names of a port.
fn links(port: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["/dev/serial/by-id", "/dev/serial/by-path", "/dev"] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            let named = dir != "/dev" || entry.file_name().to_string_lossy().starts_with("serial");
            if named && entry.path() != port && entry.path().canonicalize().is_ok_and(|target| target == port) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Names of the kernel's consoles: the first column of /proc/consoles.
fn consoles() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/consoles").unwrap_or_default();
    text.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_string).collect()
}

/// Command lines of login prompts.
fn prompts() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let ours = processes.filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    let is_prompt =
        |path: &Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|c| c.contains("getty") || c.trim() == "login");
    let lines = ours.map(|e| e.path()).filter(|p| is_prompt(p)).filter_map(|p| std::fs::read(p.join("cmdline")).ok());
    lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_gone_says_what_to_plug_in() {
        let found = look(&["/dev/serial/by-id/usb-gone".into()]);
        let gone = found.iter().find(|f| f.says().contains("usb-gone")).expect("it is named");
        assert!(gone.is_broken());
        assert!(!look(&[]).iter().any(Finding::is_broken));
    }

    #[test]
    fn what_is_no_device_is_no_port() {
        for other in ["/etc/passwd", "/tmp"] {
            let found = look(&[other.into()]);
            let says = format!("{other} is no serial port, and reports go to it");
            assert!(found.iter().any(|f| f.is_broken() && f.says() == says), "{found:?}");
            assert!(!found.iter().any(|f| f.says().contains("free")), "{found:?}");
        }
    }

    #[test]
    fn console_and_prompt_are_named_before_anything_else() {
        let strings = |s: &str| vec![s.to_string()];
        let console = describe(Path::new("/dev/null"), true, &strings("null"), &[]);
        assert!(console.is_broken() && console.says().contains("kernel's console"));
        let prompt = describe(Path::new("/dev/null"), true, &[], &strings("/sbin/agetty -L 115200 null "));
        assert!(prompt.is_broken() && prompt.says().contains("login prompt"));
        let other = describe(Path::new("/dev/null"), true, &[], &strings("agetty -o --noclear null0 vt220"));
        assert!(!other.is_broken(), "another port whose name begins like this one's: {}", other.says());
        let free = describe(Path::new("/dev/null"), true, &[], &[]);
        assert!(!free.is_broken() && free.says().contains("free"));
        assert!(!describe(Path::new("/dev/null"), false, &strings("null"), &[]).is_broken());
    }
}
