#!/usr/bin/env bash
# Runs a command in which programs of another architecture run too: the kernel hands them to qemu-user (binfmt_misc).
#
#   board/foreign.sh ARCH COMMAND...       ARCH as Debian names it: arm64
#
# Debian's qemu-user-static sets that up at boot. Where it has not (a container), this does, as root, until the command ends.
# QEMU_CPU chooses the processor: QEMU_CPU=cortex-a53 and so on.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
case $1 in arm64) name=qemu-aarch64 ;; armhf) name=qemu-arm ;; *) name=qemu-$1 ;; esac
misc=/proc/sys/fs/binfmt_misc known=/usr/lib/binfmt.d/$name.conf
shift
if [ ! -e $misc/$name ]; then
  [ -r "$known" ] || { echo "foreign.sh: $name is missing (Debian: apt-get install qemu-user-static)" >&2; exit 2; }
  [ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc || { echo "foreign.sh: no binfmt_misc: not root, or a kernel without it" >&2; exit 2; }
  grep '^:' "$known" > $misc/register || { echo "foreign.sh: cannot write $misc/register (as root?)" >&2; exit 2; }
  trap 'echo -1 > $misc/$name' EXIT
fi
"$@"
