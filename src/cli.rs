//! One file per subcommand.

pub mod shape;
