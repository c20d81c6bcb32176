#!/usr/bin/env bash
# Makes src/bindings.rs and tests/layout.rs again from the kernel's <linux/videodev2.h>.
#
#   ./renew.sh          needs: libclang (Debian: libclang-dev), linux-libc-dev, and bindgen 0.65.1
#                       (cargo install bindgen-cli --version 0.65.1 --locked), the version the original crate calls
#
# Only what `v4l` 0.14 and lookout name is kept. Nothing here is edited by hand afterwards.
set -euo pipefail
cd "$(dirname "$0")"
command -v bindgen > /dev/null || { echo "renew.sh: bindgen is missing: cargo install bindgen-cli --version 0.65.1 --locked" >&2; exit 1; }

types='v4l2_(capability|fmtdesc|pix_format|format|streamparm|captureparm|outputparm|fract|requestbuffers|buffer|buffer_type|memory
|frmsizeenum|frmsizetypes|frmivalenum|frmivaltypes|framebuffer|exportbuffer|std_id|standard|input|output|control|ext_control
|ext_controls|queryctrl|query_ext_ctrl|querymenu|ctrl_type|tuner|modulator|frequency|audio|audioout|edid|cropcap|crop
|jpegcompression|sliced_vbi_cap|enc_idx|encoder_cmd|field|colorspace|quantization|xfer_func)|timeval|time_t'
vars='V4L2_(CAP|BUF_FLAG|CTRL_FLAG|CTRL_TYPE|IN_ST|MODE|FMT_FLAG)_.*'

tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
echo '#include <linux/videodev2.h>' > "$tmp/wrapper.h"
bindgen "$tmp/wrapper.h" --with-derive-default --allowlist-type "${types//$'\n'/}" --allowlist-var "$vars" --output "$tmp/all.rs"

# The layout checks go to a test of their own, one line a structure: a build has no use for them.
awk '/^#\[test\]$/ { test = 1 } !test { print } test && /^}$/ { test = 0 }' "$tmp/all.rs" > src/bindings.rs
{ cat <<'HEAD'
//! Sizes, alignments and offsets of the structures as libclang sees them; made by renew.sh.
#![allow(clippy::all)]
use std::mem::{align_of, offset_of, size_of};
use v4l2_sys_mit::*;

macro_rules! layout {
    ($type:ty, $size:literal, $align:literal; $($field:ident $offset:literal)*) => {
        assert_eq!((size_of::<$type>(), align_of::<$type>()), ($size, $align), stringify!($type));
        $(assert_eq!(offset_of!($type, $field), $offset, concat!(stringify!($type), ".", stringify!($field)));)*
    };
}

#[test]
fn structures_are_laid_out_as_in_c() {
HEAD
  awk '/^#\[test\]$/ { test = 1; row = "" }
       test { text = text " " $0 }
       test && /^}$/ { test = 0; n = split(text, part, ";"); text = ""
         for (i = 1; i <= n; i++) {
           p = part[i]; gsub(/[ \n]+/, " ", p)
           if (match(p, /size_of::<[a-zA-Z0-9_]+>/)) { name = substr(p, RSTART + 10, RLENGTH - 11); size = num(p) }
           else if (match(p, /align_of::</)) { row = "    layout!(" name ", " size ", " num(p) ";" }
           else if (match(p, /\(\*ptr\)\.[a-zA-Z0-9_]+/)) { row = row " " substr(p, RSTART + 7, RLENGTH - 7) " " num(p) }
         }
         print row ");" }
       function num(t) { match(t, /[0-9]+usize/); return substr(t, RSTART, RLENGTH - 5) }' "$tmp/all.rs"
  echo '}'; } > tests/layout.rs
rustfmt --edition 2021 src/bindings.rs tests/layout.rs
wc -l src/bindings.rs tests/layout.rs
