#!/usr/bin/env bash
# The image's promise: it starts by itself, reports over the second UART, leaves the root alone, survives having its power cut, and systemd and the
# hardware watchdog bring it back when lookout hangs or breaks or nobody feeds the watchdog (faults.sh).
#
#   board/image/test.sh IMAGE [CUTS]     boots it in QEMU `virt` (emulated, no KVM) through UEFI; CUTS power cuts (default 2)
#
# The camera is vivid; the kernel's console is the first UART, the reports come over the second one (PCI serial). Each boot says when its
# first sentence came. About a minute a boot. IMAGE_SECONDS: how long a boot may take on this host before it counts as failed (1500).
set -euo pipefail
[ $# -ge 1 ] && [ -r "$1" ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
firmware=/usr/share/qemu-efi-aarch64/QEMU_EFI.fd
for need in qemu-system-aarch64 mcopy python3; do command -v $need > /dev/null || { echo "test.sh: $need is missing (Debian: apt-get install qemu-system-arm mtools python3)" >&2; exit 2; }; done
[ -r "$firmware" ] || { echo "test.sh: $firmware is missing (Debian: apt-get install qemu-efi-aarch64)" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd); cuts=${2:-2}
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cp --sparse=always "$1" "$tmp/disk"
# What differs from a box on a pole: a camera in the kernel, the console on the first UART, reports kept on the state partition too.
esp=(-i "$tmp/disk@@1M")
mcopy "${esp[@]}" ::/loader/entries/a.conf "$tmp/a.conf"
sed -i 's/^options .*/& console=ttyAMA0 systemd.journald.forward_to_console=1 modules_load=vivid vivid.n_devs=1 vivid.node_types=0x1/; s/ quiet / /' "$tmp/a.conf"
mcopy -o "${esp[@]}" "$tmp/a.conf" ::/loader/entries/a.conf
printf 'report = ["serial", "gpio", "file:/var/lib/lookout/reports.nmea"]\nheartbeat_s = 1\n' > "$tmp/lookout.toml"
mcopy -o "${esp[@]}" "$tmp/lookout.toml" ::/lookout.toml
mcopy -o "${esp[@]}" "$here/faults.sh" ::/faults.sh
cp --sparse=always "$tmp/disk" "$tmp/faulty"
python3 "$here/boot.py" --firmware "$firmware" --disk "$tmp/disk" --cuts "$cuts" --seconds "${IMAGE_SECONDS:-1500}"
# The same box with one more thing on the kernel's command line: systemd runs faults.sh beside all the rest.
run="/bin/sh -c 'until [ -e /boot/faults.sh ]; do sleep 1; done; . /boot/faults.sh'"
actions="systemd.run_success_action=none systemd.run_failure_action=none systemd.wants=multi-user.target"
sed -i "s|^options .*|& systemd.run=\"$run\" $actions|" "$tmp/a.conf"
mcopy -o -i "$tmp/faulty@@1M" "$tmp/a.conf" ::/loader/entries/a.conf
python3 "$here/boot.py" --firmware "$firmware" --disk "$tmp/faulty" --faults --seconds "${IMAGE_SECONDS:-1500}"
echo "test.sh: ok"
