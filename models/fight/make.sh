#!/bin/sh
# Makes the bundle anew from the clips and judges it, everything in this folder but this file and README.md:
#   sh make.sh DATA_DIR
# DATA_DIR: the clips of "Surveillance Camera Fight" (folders fight and noFight) with labels.csv (file, label, scene_group).
# Some minutes of one core, most of them for reading the clips; needs ffmpeg. LOOKOUT=PROGRAM: one that was built with the feature `train`.
# SEED=N: other beginnings and other folds. CACHE=DIR: keeps what was read for the next time.
# What comes out does not depend on the folder's name; the model card that `train` writes is shown, README.md says more and is written by hand.
set -eu
data=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
if [ -z "${LOOKOUT:-}" ]; then
    cargo build --release --features train --manifest-path "$here/../../Cargo.toml"
    LOOKOUT=$here/../../target/release/lookout
fi
"$LOOKOUT" train "$data/labels.csv" --out "$made/fight" --encoder gait --folds 5 \
    --epochs 12 --batch 16 --decay 0.5 --dropout 0.4 --hidden 32 --heads 5 --false-alarms 0.2 --seed "${SEED:-1}" ${CACHE:+--cache "$CACHE"}
# OUT=DIR: there instead of here, to judge without touching what is committed.
out=${OUT:-$here}
rm "$made/fight/README.md"
mkdir -p "$out"
cp "$made/fight/"* "$out/"
