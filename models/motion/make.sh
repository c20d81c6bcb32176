#!/bin/sh
# Rebuilds the bundle from nothing: renders, trains, quantises, writes golden vectors and bundle.toml, examines.
#   sh make.sh [WORK_DIR] [DATA_DIR]
# Needs python3-torch (or current PyTorch), libopenblas0-pthread, python3-opencv, python3-numpy, onnx, onnxruntime. Without DATA_DIR's real frames
# it still works, and holds less well on real footage. 33 GB of disk. DEVICE=cuda WORKERS=16: on a GPU, in a quarter of an hour (H200, 16 cores); on a
# laptop for a night and more (never tried).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/work}
data=${2:-$here/../../../shared/data}
python=${PYTHON:-python3} device=${DEVICE:-cpu} workers=${WORKERS:-2}
minutes=1.7; [ "$device" != cpu ] || minutes=60  # for the map: of a GPU, or of a processor
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=300000000
mkdir -p "$work"
cd "$here"
shards() {
    $python dataset.py --out "$work/shards" --data "$data" --cache "$work/footage.pkl" --workers "$workers" "$@"
}
shards --clips 2000 --seed 901 --split val
shards --clips 6500 --seed 101
shards --clips 19500 --seed 103
shards --clips 6500 --seed 104 --classes idle
shards --clips 6500 --seed 105 --classes toward away left
shards --clips 6500 --seed 106
$python train.py --data-dir "$work/shards" --out "$work/float.pt" --device "$device" --bf16 --batch 64 --epochs "${EPOCHS:-22}" --hold 0.35
$python export.py --weights "$work/float.pt" --data-dir "$work/shards" --out "$here" --enter 0.7 --leave 0.35 --min-ms 200
$python place.py --work "$work/place" --data "$data" --cache "$work/footage.pkl" --out "$here" --device "$device" --workers "$workers" --first 7201 --batch 1024 --minutes "$minutes"
$python place.py --work "$work/place" --data "$data" --cache "$work/footage.pkl" --out "$here" --workers "$workers" --first 7301 --shards 24 --go-on --minutes 12
$python evaluate.py --clips 1000 --seed 20261121 --data "$data" --cache "$work/footage.pkl" --onnx "$here" --weights "$work/float.pt"
