//! Where in the picture something moves: one box a tick, followed over time.
//!
//! An encoder that was taught to see where things are says so in a map of its own (`input.map` in the contract, `place/map.rs`). The box of all others
//! comes from the shaped picture alone: from what differs from a background that is kept (`place/ground.rs`). A head's own box ([`crate::head::boxes`])
//! replaces both.
//!
//! No allocation, and the same on every machine.

mod ground;
mod groups;
mod map;
mod tracks;

pub use map::{Cells, PLANES};

use crate::bundle::Input;
use crate::shaper::Region;
use ground::Ground;
use map::Follower;

/// See the module's documentation.
#[derive(Debug)]
pub struct Place(Kind);

#[derive(Debug)]
enum Kind {
    Map(Follower),
    Ground(Box<Ground>),
}

impl Place {
    /// For an encoder that says where things are.
    pub fn mapped() -> Self {
        Self(Kind::Map(Follower::default()))
    }

    /// For pictures as `input` describes them, whatever the encoder knows.
    pub fn new(input: &Input) -> Self {
        Self(Kind::Ground(Box::new(Ground::new(input))))
    }

    /// The box now, in fractions of the encoder's picture; `None` while nothing moves.
    pub fn now(&self) -> Option<Region> {
        match &self.0 {
            Kind::Map(follower) => follower.now(),
            Kind::Ground(ground) => ground.now(),
        }
    }

    /// Forgets everything (after a gap).
    pub fn reset(&mut self) {
        match &mut self.0 {
            Kind::Map(follower) => *follower = Follower::default(),
            Kind::Ground(ground) => ground.reset(),
        }
    }

    /// A tick's planes `[P, H, W]`, and the encoder's map of them.
    pub fn look(&mut self, planes: &[u8], map: Option<Cells<'_>>) {
        match (&mut self.0, map) {
            (Kind::Map(follower), Some(map)) => follower.look(map),
            (Kind::Map(_), None) => {}
            (Kind::Ground(ground), _) => ground.look(planes),
        }
    }
}

/// Intersection over union.
pub fn overlap(a: &Region, b: &Region) -> f32 {
    let edges = |r: &Region| [r.x, r.y, r.x + r.w, r.y + r.h];
    tracks::overlap(&edges(a), &edges(b))
}
