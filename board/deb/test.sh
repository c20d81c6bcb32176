#!/usr/bin/env bash
# The package's promise: it installs, upgrades, is removed and purged on a plain Debian, and keeps what is the owner's.
#
#   board/deb/test.sh PACKAGE.deb       as root; makes a Debian 12 root of the package's architecture in a temporary folder (mmdebstrap)
#
# A package for another architecture is tried in a root of that, by board/foreign.sh.
# Tried: rights and user, a changed configuration over an upgrade, what a removal leaves and what a purge takes; links between the
# documents; the unit by `systemd-analyze verify`, its exposure (at most 1.0) by `systemd-analyze security`; and the installed program
# plays the demo.
set -euo pipefail
[ $# = 1 ] && [ -r "$1" ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
deb=$(realpath "$1")
fail() { echo "FAILED: $*"; exit 1; }
say() { echo "-- $*"; }
for tool in mmdebstrap dpkg-deb chroot; do command -v $tool > /dev/null || { echo "test.sh: $tool is missing (Debian: apt-get install mmdebstrap)" >&2; exit 2; }; done
arch=$(dpkg-deb -f "$deb" Architecture)
if [ "$arch" != "$(dpkg --print-architecture)" ] && [ -z "${LOOKOUT_FOREIGN:-}" ]; then
  command -v arch-test > /dev/null || { echo "test.sh: arch-test is missing (Debian: apt-get install arch-test)" >&2; exit 2; }
  LOOKOUT_FOREIGN=yes exec "$(dirname "$0")/../foreign.sh" "$arch" "$0" "$deb"
fi
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
root=$tmp/root

mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" --include=systemd,udev --aptopt='APT::Install-Recommends "false"' bookworm "$root" 2> "$tmp/log" \
  || { tail -5 "$tmp/log"; fail "no Debian root"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
dpkg_() { inside dpkg --force-confold "$@" > "$tmp/dpkg" 2>&1 || { cat "$tmp/dpkg"; fail "dpkg $*"; }; }
cp "$deb" "$root/lookout.deb"
# The same package with a higher version and another default configuration: what an upgrade brings.
dpkg-deb -R "$deb" "$tmp/next"
sed -i 's/^Version: .*/Version: 99.0-1/' "$tmp/next/DEBIAN/control"
echo "# a new default" >> "$tmp/next/etc/lookout/lookout.toml"
dpkg-deb -Znone --root-owner-group -b "$tmp/next" "$root/next.deb" > /dev/null

say "install"
dpkg_ -i /lookout.deb
inside id lookout | tee "$tmp/id"
for group in video dialout gpio; do grep -q "($group)" "$tmp/id" || fail "lookout is not in $group"; done
[ "$(stat -c '%a %U' "$root/etc/lookout/lookout.toml")" = "644 root" ] || fail "rights of lookout.toml"
inside dpkg-query -W -f '${Conffiles}\n' lookout | grep -q /etc/lookout/lookout.toml || fail "lookout.toml is no conffile"
inside systemctl is-enabled lookout.service || fail "not enabled"
[ -L "$root/etc/systemd/system/multi-user.target.wants/lookout.service" ] || fail "not wanted by multi-user.target"
inside dpkg -V lookout || fail "dpkg -V"
inside lookout --version
inside lookout doctor > "$tmp/doctor" 2>&1 || [ $? -le 2 ] || fail "lookout doctor ended with $?"
inside lookout demo | grep 'ticks right' | tail -1 | tee "$tmp/demo"
grep -q '^[1-9][0-9]* of' "$tmp/demo" || fail "the demo"

say "documents"
docs=$root/usr/share/doc/lookout
for doc in README.md board/README.md board/wire.md board/json.md models/README.md; do [ -s "$docs/$doc" ] || fail "no $doc among the documents"; done
# Links to source code need the project's folder; every other one leads to something here.
(cd "$docs" && find . -name '*.md' | while read -r doc; do
  { grep -oE '\]\([^):#]+\.(md|toml|jpg)\b' "$doc" || true; } | cut -c3- | while read -r link; do [ -s "${doc%/*}/$link" ] || echo "$doc: $link"; done
done) > "$tmp/dead"
[ ! -s "$tmp/dead" ] || { cat "$tmp/dead"; fail "links that lead nowhere"; }
named=$(grep -o '/usr/share/doc/lookout/[a-zA-Z/.]*\.md' "$root/etc/lookout/lookout.toml" || true)
for path in $named; do [ -s "$root$path" ] || fail "lookout.toml names $path, which is not there"; done

say "unit"
inside systemd-analyze verify --man=no lookout.service || fail "systemd-analyze verify"
inside systemd-analyze security --offline=true --threshold=10 --no-pager lookout.service | tee "$tmp/security" | tail -1
inside systemd-analyze security --offline=true --threshold=10 lookout.service > /dev/null || fail "exposure above 1.0"

say "upgrade keeps a changed configuration and the state"
echo 'heartbeat_s = 7' > "$root/etc/lookout/lookout.toml"
mkdir -p "$root/var/lib/lookout"; echo kept > "$root/var/lib/lookout/reports.nmea"
dpkg_ -i /next.deb
grep -q 'heartbeat_s = 7' "$root/etc/lookout/lookout.toml" || fail "the upgrade overwrote lookout.toml"
[ -e "$root/etc/lookout/lookout.toml.dpkg-dist" ] || fail "the new default is not beside it"
[ "$(cat "$root/var/lib/lookout/reports.nmea")" = kept ] || fail "the upgrade took the state"
inside systemctl is-enabled lookout.service > /dev/null || fail "the upgrade disabled it"
inside dpkg-query -W -f '${Status} ${Version}\n' lookout

say "remove keeps both"
dpkg_ -r lookout
[ ! -e "$root/usr/bin/lookout" ] && [ ! -e "$root/usr/lib/systemd/system/lookout.service" ] || fail "something of the package is left"
[ -e "$root/etc/lookout/lookout.toml" ] && [ -e "$root/var/lib/lookout/reports.nmea" ] || fail "removing took what is the owner's"

say "install again, then purge: nothing is left but the user"
dpkg_ -i /lookout.deb
grep -q 'heartbeat_s = 7' "$root/etc/lookout/lookout.toml" || fail "installing again overwrote lookout.toml"
dpkg_ -P lookout
left=$(find "$root/etc" "$root/usr" "$root/var" -path '*lookout*' -not -path '*/var/log/*' -not -path '*/var/backups/*' | grep -v '/var/lib/dpkg/' || true)
[ -z "$left" ] || fail "the purge left: $left"
inside id lookout > /dev/null || fail "the user went; its number may be given away"
echo "test.sh: ok"
