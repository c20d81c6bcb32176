//! A network that is run again and again, each time from its beginning.
//!
//! What tract keeps between two runs of one state is buffers, which are worth keeping, and what recurrent layers remember, which is not: an answer
//! depends on its input alone. A network with such layers gets a new state for each run.

use super::{Plan, run};
use tract_onnx::prelude::*;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Runner {
    plan: Plan,
    state: TypedSimpleState,
    remembers: bool,
}

impl Runner {
    /// # Errors
    /// What tract says of the network.
    pub fn new(optimized: TypedModel) -> TractResult<Self> {
        let remembers = optimized.nodes().iter().any(|node| matches!(&*node.op.name(), "Scan" | "GruSeq"));
        let plan = optimized.into_runnable()?;
        Ok(Self { state: plan.spawn()?, plan, remembers })
    }

    /// All outputs for `input`; allocates nothing of its own where nothing is remembered. `what` it is stands in front of a panic's words.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&mut self, what: &'static str, input: TValue) -> TractResult<TVec<TValue>> {
        if self.remembers {
            self.state = self.plan.spawn()?;
        }
        run(what, || self.state.run(tvec![input]))
    }
}
