//! Cameras: which nodes give pictures, in which formats, sizes and rates, under which lasting names.

use super::finding::Finding;
use super::rights;
use crate::board::{FORMATS, first_match};
use crate::source::v4l2::CameraSpec;
use crate::sys::video::{Device, Fourcc, IntervalRange, SizeRange};
use std::path::{Path, PathBuf};

/// Sizes shown of one format; cameras list dozens.
const SHOWN: usize = 8;

/// The camera that must be there.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Candidates; the first that is there is the one.
    pub paths: Vec<PathBuf>,
    /// What it will be asked for.
    pub spec: CameraSpec,
}

/// Lists cameras; the one that is `needed` has to give what it will be asked for.
pub fn look(needed: Option<&Wanted>) -> Vec<Finding> {
    let wanted = needed.and_then(|n| n.paths.iter().find_map(|p| first_match(p)));
    let target = wanted.as_ref().and_then(|p| p.canonicalize().ok());
    let asked = |node: &Path| needed.filter(|_| target.as_deref() == Some(node)).map(|n| &n.spec);
    let mut found: Vec<Finding> = nodes().iter().map(|node| describe(node, asked(node))).collect();
    // A needed device outside /dev/video*: a link to something else, or a file.
    if let (Some(path), Some(target)) = (&wanted, &target)
        && !nodes().contains(target)
    {
        found.push(Finding::broken("camera", 1, format!("{} is no video device", path.display())));
    }
    if let (Some(needed), None) = (needed, &wanted) {
        let names: Vec<String> = needed.paths.iter().map(|p| p.display().to_string()).collect();
        let fix = if found.is_empty() {
            "plug in a USB camera; a camera on the CSI ribbon comes through a pipe (rpicam-vid or gst-launch, see README)"
        } else {
            "say which camera with --source v4l2:PATH or `source` in the configuration, best by its name under /dev/v4l/by-path"
        };
        found.push(Finding::broken("camera", 1, format!("no camera: {} is not there", names.join(" nor "))).fix(fix));
    } else if found.is_empty() {
        found.push(Finding::ok("camera", "none; the source is not a camera"));
    }
    found
}

/// `/dev/video*` in order of their numbers.
fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|e| Some((e.file_name().to_str()?.strip_prefix("video")?.parse().ok()?, e.path()))).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// What `node` is; `asked` is what lookout will ask of it, where it is the camera that must be there.
fn describe(node: &Path, asked: Option<&CameraSpec>) -> Finding {
    let (at, needed) = (node.display(), asked.is_some());
    if let Some((why, fix)) = rights::denied(node) {
        return Finding::bad("camera", needed, format!("{at}: {why}")).fix(fix);
    }
    let opened = Device::open(node).and_then(|d| Ok((d.capability()?, d)));
    let (c, device) = match opened {
        Ok(opened) => opened,
        Err(e) => return Finding::bad("camera", needed, format!("{at}: cannot be asked: {e}")),
    };
    let who = format!("{at} {} ({})", c.card, c.driver);
    if !c.captures && c.multi_planar {
        let fix = "a CSI camera or codec: take its pictures through a pipe (rpicam-vid or gst-launch, see README)";
        return Finding::bad("camera", needed, format!("{who}: multi-planar only, which lookout does not read")).fix(fix);
    }
    if !c.captures {
        return Finding::bad("camera", needed, format!("{who}: gives no pictures (metadata, output or codec)"))
            .fix("a camera's pictures come from its node with index 0, /dev/v4l/by-path/...-video-index0");
    }
    let formats = device.formats();
    let readable = formats.iter().filter(|f| FORMATS.iter().any(|known| known.as_bytes() == f.as_slice()));
    let readable = readable.map(text).collect::<Vec<_>>().join(", ");
    let usable = !readable.is_empty();
    let choice = asked.map(|spec| (spec, spec.choice(&device)));
    let holders = holders(node);
    let mut finding = if let (true, Some((spec, None))) = (usable, choice) {
        let wish = spec.formats.iter().map(text).collect::<Vec<_>>().join(", ");
        Finding::broken("camera", 2, format!("{who}: gives {readable} of what lookout reads, and is asked for {wish}"))
            .fix("name one of the former behind the path, --source v4l2:PATH,yuyv or `source` in the configuration, or none")
    } else if let (true, Some(holder)) = (usable, holders.iter().find(|h| !h.starts_with("`lookout`"))) {
        // Having it open is no harm; reading from it is, and that cannot be asked without disturbing.
        Finding::note("camera", format!("{who}: {holder} has it open, and a camera gives pictures to one program only"))
            .fix("if lookout says CAMERA BUSY, stop that program or use another camera")
    } else if let Some((spec, Some(took))) = choice.filter(|(spec, took)| took.is_some_and(|took| !spec.met_by(&took))) {
        let (w, h, hz) = (spec.width, spec.height, spec.rate_hz);
        Finding::note("camera", format!("{who}: is asked for {w}x{h}@{hz}, and its nearest is {took}, which lookout takes"))
            .fix("ask for one of the sizes below, or leave it: pictures are made to fit the bundle anyway")
    } else if usable {
        Finding::ok("camera", who)
    } else {
        let names: Vec<String> = formats.iter().map(text).collect();
        let names = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        Finding::bad("camera", needed, format!("{who}: gives {names}, expected one of {}", FORMATS.join(", ")))
            .fix("a camera that gives raw Bayer (BA81, RG10, pBAA, ...) needs its maker's pipeline: take it through a pipe, see README")
    };
    for more in holders.into_iter().map(|h| format!("open in {h}")).chain(links(node)) {
        finding = finding.more(more);
    }
    for fourcc in formats {
        let sizes = device.sizes(fourcc);
        let mut shown: Vec<String> = sizes.iter().take(SHOWN).map(|s| size(s, &device, fourcc)).collect();
        if sizes.len() > SHOWN {
            shown.push(format!("and {} more", sizes.len() - SHOWN));
        }
        finding = finding.more(format!("{} {}", text(&fourcc), shown.join(" ")));
    }
    finding
}

/// Programs that have `node` open, as `` `name` (process 12) ``; those of other users only for root.
fn holders(node: &Path) -> Vec<String> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let others = numbers.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != std::process::id());
    let has_it = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|target| target == node)
    };
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_string();
    others.filter(has_it).map(|pid| format!("`{}` (process {pid})", name(pid))).collect()
}

/// Lasting names of a node.
fn links(node: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["/dev/v4l/by-path", "/dev/v4l/by-id"] {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let ours = entries.map(|e| e.path()).filter(|p| p.canonicalize().is_ok_and(|target| target == node));
        found.extend(ours.map(|p| p.display().to_string()));
    }
    found.sort();
    found
}

/// A format's four characters, for a person.
fn text(fourcc: &Fourcc) -> String {
    fourcc.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { ' ' }).collect::<String>().trim().to_string()
}

/// `640x480@30,15`, or a range.
fn size(s: &SizeRange, device: &Device, fourcc: Fourcc) -> String {
    let ((w, w_max, _), (h, h_max, _)) = (s.width, s.height);
    if (w, h) != (w_max, h_max) {
        return format!("{w}x{h} to {w_max}x{h_max}");
    }
    let rates = rates(&device.intervals(fourcc, w, h));
    if rates.is_empty() { format!("{w}x{h}") } else { format!("{w}x{h}@{rates}") }
}

/// Frames a second, fastest first as drivers list them.
fn rates(intervals: &[IntervalRange]) -> String {
    let hz = |num: u32, den: u32| {
        let hz = f64::from(den) / f64::from(num.max(1));
        if (hz - hz.round()).abs() < 0.01 { format!("{hz:.0}") } else { format!("{hz:.1}") }
    };
    let one = |i: &IntervalRange| match (hz(i.max.num, i.max.den), hz(i.min.num, i.min.den)) {
        (slow, fast) if slow == fast => fast,
        (slow, fast) => format!("{slow}-{fast}"),
    };
    intervals.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::video::Interval;

    #[test]
    fn a_missing_camera_is_broken_only_where_it_is_needed() {
        let wanted = |paths: &[&str]| Wanted { paths: paths.iter().map(PathBuf::from).collect(), spec: CameraSpec::new("") };
        let found = look(Some(&wanted(&["/dev/v4l/by-path/no-such-*", "/dev/no-such-video"])));
        let last = found.last().expect("at least that");
        assert!(last.is_broken() && last.says().contains("no-such-* nor /dev/no-such-video is not there"), "{found:?}");
        assert!(!look(None).iter().any(Finding::is_broken));
        assert!(look(Some(&wanted(&["/dev/null"]))).iter().any(|f| f.is_broken() && f.says().contains("no video device")));
    }

    #[test]
    fn who_has_a_node_open_is_named() {
        let path = std::env::temp_dir().join(format!("lookout-held-{}", std::process::id()));
        std::fs::write(&path, "").expect("a file");
        let file = std::fs::File::open(&path).expect("a file");
        let mut child = std::process::Command::new("sleep").arg("10").stdin(file).spawn().expect("sleep");
        let found = holders(&path);
        let _ = (child.kill(), child.wait(), std::fs::remove_file(&path));
        assert_eq!(found, [format!("`sleep` (process {})", child.id())]);
        assert!(holders(&path).is_empty());
    }

    #[test]
    fn rates_are_said_as_people_say_them() {
        let one = |num, den| IntervalRange { min: Interval { num, den }, max: Interval { num, den } };
        assert_eq!(rates(&[one(1, 30), one(2, 15), one(1001, 30_000)]), "30,7.5,30.0");
        let range = IntervalRange { min: Interval { num: 1, den: 60 }, max: Interval { num: 1, den: 1 } };
        assert_eq!(rates(&[range, one(0, 0)]), "1-60,0");
        assert_eq!(text(b"Y16 "), "Y16");
    }
}
