#!/bin/sh
# Puts cargo-deb into DIR/bin, where the machine has none: packaging/cargo-deb.sh DIR
# Without optimization and without its own compressor, in place of which it calls xz: half a minute in place of four.
set -eu
dir=$1
version=3.8.0
if command -v cargo-deb >/dev/null 2>&1; then exit 0; fi
if "$dir/bin/cargo-deb" --version 2>/dev/null | grep -qx "cargo-deb $version"; then exit 0; fi
echo "Building cargo-deb $version below $dir"
rm -rf "$dir"
CARGO_PROFILE_DEV_DEBUG=0 ${CARGO:-cargo} install --quiet --locked --debug --no-default-features \
    --target-dir "$dir/build" --root "$dir" --no-track "cargo-deb@$version"
rm -rf "$dir/build"
