//! The promise: every board file is whole, a bad one is refused by name and key, and the installed configuration says
//! nothing but the defaults.

use lookout::baked;
use lookout::board::{Board, LineSpec};
use lookout::config::Config;
use lookout::report::Label;
use std::path::Path;

/// Boards that the project promises.
const PROMISED: [&str; 7] =
    ["host", "jetson-nano", "jetson-orin-nano", "qemu-virt", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2"];
/// Classes of the baked bundle that boards have lines for.
const CLASSES: [&str; 6] = ["left", "right", "toward", "away", "shake", "covered"];

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("board").join(name)).expect("a file of the project")
}

#[test]
fn every_promised_board_is_baked_whole_and_unique() {
    let boards = baked::boards().expect("the build checked them");
    assert_eq!(boards.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), PROMISED);
    let mut claimed = Vec::new();
    for board in &boards {
        assert!(!board.title.is_empty());
        for name in &board.compatible {
            assert!(!claimed.contains(name), "{name} is claimed twice");
            claimed.push(name.clone());
        }
        if let Some(gpio) = &board.gpio {
            assert!(gpio.heartbeat.is_some(), "{}: heartbeat", board.name);
            for class in CLASSES {
                assert!(gpio.lines.contains_key(class), "{}: no line for {class}", board.name);
            }
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("board").join(format!("{}.toml", board.name));
        assert_eq!(&Board::open(&path).expect("the same from disk"), board);
    }
}

#[test]
fn each_machine_finds_its_board() {
    let boards = baked::boards().expect("the build checked them");
    for (machine, board) in [
        (&["raspberrypi,4-model-b", "brcm,bcm2711"][..], "raspberry-pi-4"),
        (&["raspberrypi,5-model-b", "brcm,bcm2712"], "raspberry-pi-5"),
        (&["raspberrypi,model-zero-2-w", "brcm,bcm2837"], "raspberry-pi-zero-2"),
        (&["nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"], "jetson-orin-nano"),
        (&["nvidia,p3450-0000", "nvidia,tegra210"], "jetson-nano"),
        (&["linux,dummy-virt"], "qemu-virt"),
        (&[], "host"),
    ] {
        let machine: Vec<String> = machine.iter().map(ToString::to_string).collect();
        assert_eq!(Board::detect(&boards, &machine).expect("known").name, board);
    }
}

/// Replaces `from` by `to` in the Raspberry Pi 4's file and returns the refusal.
fn refused(from: &str, to: &str) -> String {
    let text = text("raspberry-pi-4.toml");
    assert!(text.contains(from), "{from:?} is not in the file any more");
    let bad = text.replacen(from, to, 1);
    Board::parse("raspberry-pi-4", &bad).expect_err("this must be refused")
}

#[test]
fn wrong_board_files_are_refused_in_one_sentence() {
    for (from, to, says) in [
        ("threads = 2", "threads = 2\ncolour = \"red\"", &["unknown field `colour`", "`threads`", "line "][..]),
        ("threads = 2", "", &["missing field `threads`"]),
        ("threads = 2", "threads = 0", &["threads = 0", "1 to 64"]),
        ("threads = 2", "threads = \"two\"", &["line ", "string", "usize"]),
        ("name = \"raspberry-pi-4\"", "name = \"pi\"", &["\"pi\"", "\"raspberry-pi-4\""]),
        ("baud = 115200", "baud = 115201", &["serial.baud = 115201", "115200"]),
        ("baud = 115200", "baud = 115200\nparity = \"even\"", &["unknown field `parity`", "`baud`"]),
        ("\"YUYV\", ", "\"H264\", ", &["camera.formats", "\"H264\"", "MJPG"]),
        ("rate_hz = 30", "rate_hz = 0", &["camera.rate_hz = 0", "1 to 1000"]),
        ("device = \"/dev/serial0\"", "device = \"serial0\"", &["serial.device", "from /"]),
        ("line = \"GPIO22\"", "line = \"GPIO27\"", &["left and right", "GPIO27"]),
        ("line = \"GPIO22\"", "line = \"GPIO17\"", &["heartbeat and right", "GPIO17"]),
        ("line = \"GPIO22\"", "line = -3", &["-3", "0 to 65535"]),
        ("line = \"GPIO22\"", "line = true", &["a line's name like \"GPIO17\" or its offset"]),
        ("mode = \"pulse\"", "mode = \"blink\"", &["`blink`", "`level` or `pulse`"]),
        ("min_ms = 500", "min_ms = 0", &["gpio.lines.shake.min_ms = 0"]),
        ("status = \"untested\"", "", &["status and [measured]"]),
        ("status = \"untested\"", "status = \"perfect\"", &["`perfect`", "`untested`"]),
        ("report = [\"serial\", \"gpio\"]", "report = []", &["report = []"]),
        ("kind = \"flags\"", "kind = \"feeling\"", &["`feeling`", "`flags`"]),
        ("mask = 0xf", "mask = 0", &["mask 0x0"]),
        ("raspberrypi,4-model-b", "pi4", &["compatible", "\"pi4\""]),
        ("[serial]", "[serial", &["line "]),
    ] {
        let why = refused(from, to);
        assert!(says.iter().all(|s| why.contains(s)), "{to:?} gives {why:?}, expected {says:?}");
        assert!(!why.contains('\n'), "{why:?} is more than one line");
    }
}

#[test]
fn no_truncation_of_a_board_file_panics() {
    let text = text("raspberry-pi-5.toml");
    for end in (0..text.len()).filter(|i| text.is_char_boundary(*i)).step_by(7) {
        let _ = Board::parse("raspberry-pi-5", &text[..end]);
    }
}

#[test]
fn the_installed_configuration_says_the_defaults() {
    let config = Config::parse("board/lookout.toml", &text("lookout.toml")).expect("the example is good");
    assert_eq!(Config { file: Config::default().file, ..config }, Config::default());
}

#[test]
fn every_example_in_the_configuration_works_once_uncommented() {
    // `#key` and `#[table]` are examples, `# text` is prose; a second example of one key stays out.
    let mut seen = Vec::new();
    let mut live = String::new();
    for line in text("lookout.toml").lines() {
        let example = line.strip_prefix('#').filter(|l| l.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
        let key = example.and_then(|l| l.split_once(" =")).map(|(k, _)| k.to_string());
        match example {
            Some(_) if key.as_ref().is_some_and(|k| ["source", "report"].contains(&k.as_str()) && seen.contains(k)) => {}
            Some(example) => live += &format!("{example}\n"),
            None => live += &format!("{line}\n"),
        }
        seen.extend(key);
    }
    let config = Config::parse("examples", &live).expect("every example is good");
    assert_eq!(config.board.as_deref(), Some("raspberry-pi-4"));
    assert_eq!(config.gpio.heartbeat, Some(LineSpec::Name("GPIO17".into())));
    assert!(config.region.is_some() && config.decision.label.contains_key("shake") && config.gpio.lines.len() == 3);
    let boards = baked::boards().expect("the build checked them");
    let labels: Vec<Label> = CLASSES.iter().map(|c| Label::try_from(*c).expect("short")).collect();
    let board = boards.iter().find(|b| b.name == "raspberry-pi-4").expect("it is there");
    let wiring = board.wiring(&config.gpio, &labels).expect("good").expect("some");
    assert_eq!((wiring.lines.len(), wiring.buttons.len()), (2, 1));
}
