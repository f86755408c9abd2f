#!/bin/sh
# Has a built isoplan write what a package needs besides it: packaging/files.sh PROGRAM DIRECTORY
set -eu
program=$1
out=$2
rm -rf "$out"
mkdir -p "$out/root/usr/lib/systemd" "$out/bash" "$out/zsh" "$out/fish" "$out/units"
"$program" man "$out/man" >/dev/null
gzip -9n "$out"/man/*.1
gzip -9nc "$(dirname "$0")/../CHANGELOG.md" >"$out/changelog.gz"
"$program" completions bash >"$out/bash/isoplan"
"$program" completions zsh >"$out/zsh/_isoplan"
"$program" completions fish >"$out/fish/isoplan.fish"

# The units of the package are those of `isoplan install`, but for who takes them away again.
: >"$out/root/usr/lib/systemd/systemd"
"$program" install --yes --root "$out/root" --exec-path /usr/bin/isoplan \
    "$(dirname "$0")/../fixtures/docker-host/topology.toml" >/dev/null 2>&1
for unit in isoplan.service isoplan-watch.service; do
    {
        echo '# From the package, not enabled. `isoplan install TOPOLOGY` puts one of its own into /etc/systemd/system, which'
        echo '# goes before this one, and has nftables.service followed by it as well.'
        sed 1d "$out/root/etc/systemd/system/$unit"
    } >"$out/units/$unit"
done
rm -rf "$out/root"
