//! The alarm for what was never here before: how many blocks this box has counted, and which rate of false alarms it can promise now.
//!
//! Only read: nothing is counted here. What cannot be used costs the alarm and no report, so nothing is broken by it.

use super::finding::Finding;
use crate::bundle::Bundle;
use crate::cli::promised;
use crate::config::Config;
use crate::store::novelty;

/// What is known in the state folder for this bundle, and what of it cannot be used.
pub fn look(config: &Config, bundle: &Bundle) -> Vec<Finding> {
    if !config.novelty.enabled {
        return vec![Finding::ok("novelty", "not said on this box (novelty.enabled = false)")];
    }
    let (setup, trouble) = novelty::look(&config.state, bundle);
    let mut found: Vec<Finding> = trouble.into_iter().map(|why| Finding::note("novelty", why)).collect();
    match setup.and_then(|setup| config.novelty.apply(setup)) {
        None if found.is_empty() => {
            found.push(Finding::ok(
                "novelty",
                "nothing says what is normal here, so there is no alarm; `lookout learn` finds out",
            ));
        }
        None => {}
        Some(setup) if promised::drifts(&setup) => found.push(
            Finding::note("novelty", promised::words(&setup))
                .more("drift: the scores of the last hour lie elsewhere than those before")
                .fix("see that nobody moved the camera; where this is how it will be from now on, `lookout learn` once more"),
        ),
        Some(setup) => found.push(Finding::ok("novelty", promised::words(&setup))),
    }
    found
}
