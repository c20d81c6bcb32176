//! `cargo run --release --example shape -- CLIP.y4m --bundle DIR -o planes.npy`: see `lookout::cli::shape`.

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: lookout::cli::shape::Args,
}

fn main() -> anyhow::Result<()> {
    lookout::cli::shape::run(&Cli::parse().args)
}
