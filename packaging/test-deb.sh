#!/bin/bash
# Installs a package in a clean root, tries what is in it, upgrades it under live rules, purges it, and sees that nothing
# is left. packaging/test-deb.sh PACKAGE [ROOT]; needs root, mmdebstrap, nft and lintian; ROOT is a clean root that is
# there already. What the maintainer scripts do where systemd runs is not tried: no systemd runs here.
set -euo pipefail
deb=$(realpath "$1")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$(realpath -m "${2:-$work/root}")
release=$(. /etc/os-release && echo "$VERSION_CODENAME")

step() { echo "== $* ($SECONDS s)"; }
fail() { echo "error: $*" >&2; exit 1; }
# In network and mount namespaces of its own, so that nothing here can reach this machine's rules.
apart() {
    unshare --net --mount bash -euc 'mount -t proc proc "$1/proc"; mount -t tmpfs tmpfs "$1/run"; shift; "$@"' bash "$root" "$@"
}
within() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root "$@"; }
export root
export -f fail within
in_root() { apart within "$@"; }
# Everything but what dpkg itself, ldconfig and the page index write.
contents() {
    (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./tmp -o -path ./proc -o -path ./run \) -prune \
        -o -printf '%p %y %m\n' | LC_ALL=C sort)
}

step lintian
lintian --no-cfg --allow-root --fail-on error,warning "$deb"

step what it needs
# The names, without versions: the clean root has these and no other library.
depends=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/[[:space:]]//g')
for name in libnftnl11 libmnl0 libc6; do
    [[ ,$depends, == *,$name,* ]] || fail "Depends has no $name: $depends"
done

if [ ! -d "$root" ]; then
    step a clean root
    # From where this machine gets its packages. Nobody needs the root after a loss of power.
    mapfile -t sources < <(find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.sources' -o -name '*.list' 2>/dev/null)
    mmdebstrap --quiet --variant=essential --include="$depends,man-db" --dpkgopt=force-unsafe-io "$release" "$root" "${sources[@]}"
fi
# Debian leaves manuals and documents out of minimal roots, where a file says so.
rm -f "$root"/etc/dpkg/dpkg.cfg.d/*
contents >"$work/before"

step install
cp "$deb" "$root/tmp/isoplan.deb"
in_root dpkg -i /tmp/isoplan.deb

step run
in_root isoplan --version
[ -z "$(in_root dpkg --verify isoplan)" ] || fail "files are not as they were packed"
in_root isoplan check /usr/share/doc/isoplan/examples/docker-host.toml | grep -q docker0
in_root isoplan plan /usr/share/doc/isoplan/examples/docker-host.toml | grep -q '^+ table inet isoplan'
in_root man -P cat isoplan-plan | grep -q 'isoplan-snapshot(1)'
[ "$(in_root sh -c 'ls /usr/share/man/man1/isoplan*.gz | wc -l')" -gt 20 ] || fail "man pages are missing"
for file in bash-completion/completions/isoplan zsh/vendor-completions/_isoplan fish/vendor_completions.d/isoplan.fish \
    doc/isoplan/docs/tutorial.md doc/isoplan/docs/how-to/install.md doc/isoplan/docs/reference/files.md; do
    [ -s "$root/usr/share/$file" ] || fail "no $file"
done
for unit in isoplan.service isoplan-watch.service; do
    [ ! -e "$root/etc/systemd/system/sysinit.target.wants/$unit" ] || fail "$unit is enabled"
    [ ! -e "$root/etc/systemd/system/multi-user.target.wants/$unit" ] || fail "$unit is enabled"
    grep -q '^ExecStart=/usr/bin/isoplan' "$root/usr/lib/systemd/system/$unit" || fail "$unit runs something else"
done

step "install's own units beside those of the package"
mkdir -p "$root/usr/lib/systemd"
: >"$root/usr/lib/systemd/systemd"
cp "$root/usr/share/doc/isoplan/examples/docker-host.toml" "$root/tmp/topology.toml"
in_root isoplan install --yes --root / /tmp/topology.toml --exec-path /usr/bin/isoplan >/dev/null
for unit in isoplan.service isoplan-watch.service; do
    diff <(sed 1d "$root/etc/systemd/system/$unit") <(sed 1,2d "$root/usr/lib/systemd/system/$unit") || fail "$unit differs"
done
in_root dpkg --remove isoplan >"$work/removed" 2>&1
grep -q "THE NEXT BOOT IS WITHOUT" "$work/removed" || fail "remove does not say that units stay"
in_root dpkg -i /tmp/isoplan.deb >/dev/null
in_root isoplan uninstall --yes --root / >/dev/null
[ -e "$root/usr/lib/systemd/system/isoplan.service" ] || fail "uninstall took the unit of the package"
rm "$root/usr/lib/systemd/systemd" "$root/tmp/topology.toml"

step an upgrade and a removal under live rules
dpkg-deb -R "$deb" "$work/newer"
sed -i 's/^Version: .*/Version: 99-1/' "$work/newer/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/newer" "$root/tmp/newer.deb" >/dev/null
rm -r "$work/newer"
live() {
    # With handles, which are given once: what was taken away and put back has others.
    state() { nft --stateless --handle list ruleset && cat /proc/sys/net/ipv4/ip_forward; }
    within isoplan apply --yes /usr/share/doc/isoplan/examples/docker-host.toml >/dev/null
    state >"$1/applied"
    grep -q 'table inet isoplan' "$1/applied" || fail "nothing was applied"
    within dpkg -i /tmp/newer.deb >"$1/upgraded" 2>&1
    grep -q 'those of version 0' "$1/upgraded" || fail "the upgrade does not say that rules are as they were"
    state | diff "$1/applied" - || fail "the upgrade changed what is applied"
    within dpkg --remove isoplan >"$1/removed" 2>&1
    state | diff "$1/applied" - || fail "the removal changed what is applied"
    # What it says to undo them does.
    sed -n 's/^isoplan:     //p' "$1/removed" >"$1/undo"
    sh -ec ". $1/undo" >/dev/null
    [ "$(state)" = 0 ] || fail "what the removal says leaves something: $(state)"
}
export -f live
apart bash -euc 'live "$@"' bash "$work"
in_root dpkg --purge isoplan
in_root dpkg -i /tmp/isoplan.deb >/dev/null

step purge
in_root dpkg --purge isoplan
rm "$root/tmp/isoplan.deb" "$root/tmp/newer.deb"
contents >"$work/after"
diff "$work/before" "$work/after" || fail "something is left, or gone"

step a topology of somebody stays
cp "$deb" "$root/tmp/isoplan.deb"
in_root dpkg -i /tmp/isoplan.deb >/dev/null
install -D -m 644 fixtures/docker-host/topology.toml "$root/etc/isoplan/topology.toml"
in_root dpkg --purge isoplan >/dev/null
[ -e "$root/etc/isoplan/topology.toml" ] || fail "purge took a topology"
rm -r "$root/etc/isoplan" "$root/tmp/isoplan.deb"
echo "the package is as it should be ($SECONDS s)"
