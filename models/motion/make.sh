#!/bin/sh
# Rebuilds the bundle from nothing: renders, trains, quantises, writes golden vectors and bundle.toml, examines.
#   sh make.sh [WORK_DIR] [DATA_DIR]
# About 12 GB of disk; about four hours of two cores. Needs python3-torch (or current PyTorch; add --bf16 to train.py where the
# processor has AMX), libopenblas0-pthread, python3-opencv (4.x: 5 draws text on bytes only), python3-numpy, onnx,
# onnxruntime. Without DATA_DIR's real frames it still works, and holds less well on real footage.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/work}
data=${2:-$here/../../../shared/data}
python=${PYTHON:-python3}
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=300000000
mkdir -p "$work"
cd "$here"
shards() {
    $python dataset.py --out "$work/shards" --data "$data" --cache "$work/footage.pkl" "$@"
}
shards --clips 500 --seed 900 --split val
shards --clips 6500 --seed 1
shards --clips 1500 --seed 4 --classes toward away
shards --clips 6250 --seed 31
shards --clips 2000 --seed 32 --classes idle
shards --clips 1500 --seed 33 --classes toward away
$python train.py --data-dir "$work/shards" --out "$work/float.pt" --epochs 24 --hold 0.4
$python export.py --weights "$work/float.pt" --data-dir "$work/shards" --out "$here" --enter 0.7 --leave 0.35 --min-ms 200
$python place.py --work "$work/place" --data "$data" --cache "$work/footage.pkl" --out "$here"
$python evaluate.py --clips 1000 --seed 20261121 --data "$data" --cache "$work/footage.pkl" --onnx "$here" --weights "$work/float.pt"
