//! What can be promised of false alarms now, in one plain sentence, for every command that says it: `learn`, `train`, `check`, `doctor`, `classify`.

use crate::novelty::Setup;
use crate::novelty::promise::{KEPT, LEAST, Promise};
use std::time::Duration;

/// How many blocks are counted, and what they promise.
pub fn words(setup: &Setup) -> String {
    let promise = of(setup);
    let block = Duration::from_millis(u64::from(setup.block) * u64::from(setup.normal.tick_ms));
    let many = |blocks: u32| format!("{blocks} of them ({})", span(block * blocks));
    let counted = match promise.blocks() {
        1 => format!("1 block of {} is counted", span(block)),
        n => format!("{n} blocks of {} are counted", span(block)),
    };
    let Some(one_in) = promise.one_in() else {
        let left = (LEAST as u32).saturating_sub(promise.blocks());
        return format!("{counted}: no alarm before there are {LEAST}, {} more", span(block * left));
    };
    let now = format!("{counted}: at most one false alarm in {} can be promised now", many(one_in));
    let asked = promise.asked();
    match promise.needs() {
        Some(needs) if promise.blocks() as usize >= needs => format!("{now}, as was asked for"),
        Some(needs) => format!("{now}; one in {} was asked for, which {needs} can promise", many(asked)),
        None => {
            format!("{now}; one in {} was asked for, which the {KEPT} that are kept never can: longer blocks do", many(asked))
        }
    }
}

/// At most one false alarm in so many blocks can be promised now; `None`: nothing yet.
pub fn one_in(setup: &Setup) -> Option<u32> {
    of(setup).one_in()
}

/// Have scores moved as a whole of late?
pub fn drifts(setup: &Setup) -> bool {
    of(setup).drifts()
}

fn of(setup: &Setup) -> Promise {
    Promise::new(setup.rate, setup.block, &setup.blocks)
}

/// A span in the largest unit of which it has at least two; a day is said as 24 h.
fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    let (many, unit) = match seconds {
        s if s < 120.0 => (s, "s"),
        s if s < 7_200.0 => (s / 60.0, "min"),
        s if s < 172_800.0 => (s / 3_600.0, "h"),
        s => (s / 86_400.0, "days"),
    };
    let text = format!("{many:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::novelty::normal::{Terms, learn};
    use crate::novelty::promise::Blocks;

    #[test]
    fn what_is_said_is_what_is_kept() {
        let rows = (0..2000).map(|n| (n * 37 % 101) as f32 / 101.0).collect();
        let normal = learn("", 1, &[rows], &Terms { hidden: 4, ..Terms::new(100, 0) }, None).expect("enough to learn from");
        let counted = |n: u32, rate: f64, block: u32| {
            let blocks = Blocks { best: (0..n).map(|b| b as f32).collect(), alarms: vec![] };
            words(&Setup { blocks, rate, block, ..Setup::of(normal.clone(), None).expect("a setup") })
        };
        let day = 1.0 / 1440.0;
        assert_eq!(counted(1, day, 600), "1 block of 60 s is counted: no alarm before there are 20, 19 min more");
        assert_eq!(counted(3, day, 600), "3 blocks of 60 s are counted: no alarm before there are 20, 17 min more");
        assert_eq!(
            counted(29, day, 600),
            "29 blocks of 60 s are counted: at most one false alarm in 30 of them (30 min) can be promised now; \
             one in 1440 of them (24 h) was asked for, which 1439 can promise"
        );
        for n in [1439, 2880] {
            let says = "at most one false alarm in 1440 of them (24 h) can be promised now, as was asked for";
            assert_eq!(counted(n, day, 600), format!("{n} blocks of 60 s are counted: {says}"));
        }
        let rare = counted(2880, day / 4.0, 600);
        assert!(
            rare.ends_with(
                "one in 5760 of them (4 days) was asked for, which the 2880 that are kept never can: longer blocks do"
            ),
            "{rare}"
        );
        // A block of five minutes asks for a day with a fifth of them.
        let long = counted(287, 5.0 * day, 3000);
        assert!(
            long.starts_with("287 blocks of 5 min are counted: at most one false alarm in 288 of them (24 h)")
                && long.ends_with("as was asked for"),
            "{long}"
        );
    }
}
