#!/usr/bin/env bash
# Renews the signatures in this folder: tests/golden/signed/make.sh (Debian: apt-get install minisign).
#
# Contracts of tests/bundles/rows-lstm under other versions, signed with keys that exist for this test alone. `box` is the key
# that the test's configuration knows, `stranger` is another one. The secret keys are not kept.
set -euo pipefail
cd "$(dirname "$0")"
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
for key in box stranger; do minisign -G -W -f -p "$tmp/$key.pub" -s "$tmp/$key.key" > /dev/null; done
tail -n 1 "$tmp/box.pub" > box.pub
for version in 1.2.0 1.10.0 1.11.0; do
  sed "s/^version = .*/version = \"$version\"/" ../../bundles/rows-lstm/bundle.toml > "$version.toml"
  minisign -S -s "$tmp/box.key" -m "$version.toml" -x "$version.toml.minisig" -t "rows-lstm $version" > /dev/null
done
minisign -S -s "$tmp/stranger.key" -m 1.11.0.toml -x stranger.minisig -t "rows-lstm 1.11.0" > /dev/null
