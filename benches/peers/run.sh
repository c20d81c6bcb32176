#!/bin/sh
# lookout beside LiteRT, OpenVINO, ONNX Runtime, ncnn and stock tract on the same networks, in one run.
#
#   sh benches/peers/run.sh [--data DIR] [--quick] [--fifo] [--lookout BIN] [--work DIR] [--out DIR] [--nets NAME,...] [--rounds N] [--core N]
#
# Makes its own Python environment and the networks in WORK (target/peers by default; kept for the next time), builds lookout
# and stock tract, measures, and writes RESULTS.md and chart.svg to OUT (default: WORK; benches/peers to renew what is in git).
# --data: a folder with models_onnx_converted/ and models_google-coral/, whose pretrained pairs then take part.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/peers data='' lookout='' rest='' nets='' command="sh benches/peers/run.sh $*"
while [ $# -gt 0 ]; do
    case $1 in
        --data) data=$(cd "$2" && pwd); shift 2 ;;
        --lookout) lookout=$2; shift 2 ;;
        --work) work=$2; shift 2 ;;
        --quick | --fifo) rest="$rest $1"; shift ;;
        --nets) nets=$2; rest="$rest $1 $2"; shift 2 ;;
        --out | --rounds | --core) rest="$rest $1 $2"; shift 2 ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
mkdir -p "$work"
if ! cmp -s "$here/requirements.txt" "$work/venv/requirements.txt"; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$work/venv/requirements.txt"
fi
cd "$root"
[ -n "$lookout" ] || { cargo build --release --bin lookout && lookout=$target/release/lookout; }
cargo build --release --example stock_tract
python=$work/venv/bin/python
"$python" "$here/prepare.py" "$work" ${data:+--data "$data"} ${nets:+--nets "$nets"}
# shellcheck disable=SC2086  # the rest is words without spaces
exec "$python" "$here/compare.py" "$work" --lookout "$lookout" --tract "$target/release/examples/stock_tract" --command "$command" $rest
