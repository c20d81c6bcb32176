#!/bin/sh
# Rebuilds the bundle from nothing: renders, trains, quantises, writes golden vectors and bundle.toml, examines.
#   sh make.sh [WORK_DIR] [DATA_DIR] [OUT_DIR]       OUT_DIR: where the bundle goes (default: here)
# Needs python3-torch (or current PyTorch), libopenblas0-pthread, python3-opencv, python3-numpy, onnx, onnxruntime. Without DATA_DIR's real frames
# it still works, and holds less well on real footage. 33 GB of disk. DEVICE=cuda WORKERS=16: on a GPU, in a quarter of an hour (H200, 16 cores); on a
# laptop for a night and more (never tried). SMALL=yes goes through all of it with 250 clips of each set, in minutes: what comes out knows
# nothing much, and the recipe has run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/work}
data=${2:-$here/../../../shared/data}
out=${3:-$here}
python=${PYTHON:-python3} device=${DEVICE:-cpu} workers=${WORKERS:-2}
minutes=1.7; [ "$device" != cpu ] || minutes=60  # for the map: of a GPU, or of a processor
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=300000000
mkdir -p "$work"
cd "$here"
shards() {
    $python dataset.py --out "$work/shards" --data "$data" --cache "$work/footage.pkl" --workers "$workers" "$@"
}
# clips of a set; everything is rendered in shards of 250
n() { if [ -n "${SMALL:-}" ]; then echo 250; else echo "$1"; fi; }
epochs=${EPOCHS:-22} more=12 shards=24 exams=1000
[ -z "${SMALL:-}" ] || { epochs=1 minutes=5 more=1 shards=1 exams=70; }
shards --clips "$(n 2000)" --seed 901 --split val
shards --clips "$(n 6500)" --seed 101
shards --clips "$(n 19500)" --seed 103
shards --clips "$(n 6500)" --seed 104 --classes idle
shards --clips "$(n 6500)" --seed 105 --classes toward away left
shards --clips "$(n 6500)" --seed 106
$python train.py --data-dir "$work/shards" --out "$work/float.pt" --device "$device" --bf16 --batch 64 --epochs "$epochs" --hold 0.35
mkdir -p "$out"
$python export.py --weights "$work/float.pt" --data-dir "$work/shards" --out "$out" --enter 0.7 --leave 0.35 --min-ms 200
place() {
    $python place.py --work "$work/place" --data "$data" --cache "$work/footage.pkl" --out "$out" --workers "$workers" "$@"
}
place --device "$device" --first 7201 --batch 1024 --minutes "$minutes" ${SMALL:+--shards 1}
place --first 7301 --shards "$shards" --go-on --minutes "$more"
$python evaluate.py --clips "$exams" --seed 20261121 --data "$data" --cache "$work/footage.pkl" --onnx "$out" --weights "$work/float.pt" --card "$out/card.md"
