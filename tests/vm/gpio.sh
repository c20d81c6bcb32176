#!/usr/bin/env bash
# The GPIO sink (tests/gpio.rs) against a real kernel driver, gpio-sim, in an emulated machine.
#
#   tests/vm/gpio.sh
#
# Debian's kernel lacks gpio-sim: modules.sh builds it. Needs what run.sh and modules.sh need.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd)
die() { echo "gpio.sh: $*" >&2; exit 2; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

modules=$("$here/modules.sh")

cd "$top"
tests=$(cargo test --locked --no-run --test gpio --message-format=json 2> "$work/cargo" | sed -n '/"name":"gpio"/s/.*"executable":"\([^"]*\)".*/\1/p')
[ -x "$tests" ] || { cat "$work/cargo" >&2; die "tests/gpio.rs did not build"; }
cp "$tests" "$work/gpio-tests"; strip "$work/gpio-tests"
MODULES=configfs "$here/boot.sh" "$here/guest/gpio.sh" "$work/gpio-tests:/bin/gpio-tests" "$modules/gpio-sim.ko:/ko/gpio-sim.ko"
echo "gpio.sh: OK"
