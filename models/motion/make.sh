#!/bin/sh
# Rebuilds the bundle from nothing: renders, trains, quantises, writes golden vectors and bundle.toml, examines.
#   sh make.sh [WORK_DIR] [DATA_DIR]
# About 14 GB of disk; two or three hours of two cores. Needs python3-torch (or current PyTorch; add --bf16 to train.py where the
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
$python dataset.py --out "$work/shards" --clips 500 --seed 900 --split val --data "$data" --cache "$work/footage.pkl"
$python dataset.py --out "$work/shards" --clips 15000 --seed 1 --data "$data" --cache "$work/footage.pkl"
$python dataset.py --out "$work/shards" --clips 1500 --seed 4 --classes toward away --data "$data" --cache "$work/footage.pkl"
$python dataset.py --out "$work/shards" --clips 2000 --seed 12 --classes idle --data "$data" --cache "$work/footage.pkl"
$python train.py --data-dir "$work/shards" --out "$work/first.pt" --epochs 16 --hold 0.35
$python dataset.py --out "$work/shards" --clips 1000 --seed 22 --classes idle --data "$data" --cache "$work/footage.pkl"
$python dataset.py --out "$work/shards" --clips 500 --seed 23 --classes toward away --data "$data" --cache "$work/footage.pkl"
$python dataset.py --out "$work/shards" --clips 1750 --seed 21 --data "$data" --cache "$work/footage.pkl"
$python train.py --data-dir "$work/shards" --init "$work/first.pt" --out "$work/second.pt" --epochs 3 --lr 1.2e-3 --hold 0.3
$python export.py --weights "$work/first.pt" "$work/second.pt" --keep "$work/float.pt" --data-dir "$work/shards" --out "$here" --enter 0.5 --leave 0.35 --min-ms 300
$python evaluate.py --clips 1000 --seed 20261121 --data "$data" --cache "$work/footage.pkl" --onnx "$here" --weights "$work/float.pt"
