#!/bin/sh
# Puts taplo, a language server for TOML, into DIR/bin, where the machine has none: taplo.sh DIR
# It is not in Debian. With --target, pip leaves the Python of the machine as it is, and Debian's pip does not object.
set -eu
dir=$1
version=0.9.3
if command -v taplo >/dev/null 2>&1; then exit 0; fi
if "$dir/bin/taplo" --version 2>/dev/null | grep -qx "taplo $version"; then exit 0; fi
echo "Putting taplo below $dir"
rm -rf "$dir"
pip() {
    PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip "$@"
}
if ! pip install --quiet --no-deps --only-binary :all: --target "$dir" "taplo==$version"; then
    echo 'note: the test of the schema with taplo will be skipped; there is no taplo here' >&2
fi
