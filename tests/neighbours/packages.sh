#!/bin/sh
# Unpacks below DIR/root what the tests beside real daemons need and this machine does not have. Nothing is
# installed: no script of a package runs, no daemon is started or enabled, and no file outside DIR is written.
# The tests lay DIR/root above the machine's files, in a mount namespace of their own.
#
#     packages.sh DIR
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
dir=$1
programs='dockerd docker containerd runc podman crun conmon firewalld ufw busybox dbus-daemon iptables-nft iptables-legacy'
packages='docker.io podman netavark crun firewalld ufw busybox-static dbus iptables'

missing=
for program in $programs; do
    command -v "$program" >/dev/null 2>&1 || [ -e "$dir/root/usr/bin/$program" ] ||
        [ -e "$dir/root/usr/sbin/$program" ] || missing="$missing $program"
done
[ -e /usr/lib/podman/netavark ] || [ -e "$dir/root/usr/lib/podman/netavark" ] || missing="$missing netavark"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "note: the tests beside real daemons will be skipped; missing here:$missing" >&2
    exit 0
fi

# What apt would install, with all that it depends on.
needed() {
    apt-get -s install --no-install-recommends $packages >"$dir/apt.log" 2>&1 &&
        sed -n 's/^Inst \([^ ]*\) .*/\1/p' "$dir/apt.log"
}
fetch() {
    names=$(needed) || return 1
    # shellcheck disable=SC2086
    (cd "$dir/debs" && apt-get download -qq $names >>"$dir/apt.log" 2>&1)
}
echo "Unpacking below $dir:$missing and what they depend on"
rm -rf "$dir"
mkdir -p "$dir/debs" "$dir/new"
dir=$(cd "$dir" && pwd)
if ! fetch; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    fetch || { cat "$dir/apt.log" >&2; exit 1; }
fi
# Where the machine has links to directories, a directory in their place would hide what they lead to.
for link in bin sbin lib lib32 lib64 libx32; do
    [ -L "/$link" ] || continue
    mkdir -p "$dir/new/$(readlink "/$link")"
    ln -s "$(readlink "/$link")" "$dir/new/$link"
done
for package in "$dir"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$package" |
        tar -x --no-same-owner --keep-directory-symlink --exclude './usr/share/doc' --exclude './usr/share/man' \
            --exclude './usr/share/locale' -C "$dir/new"
done
find "$dir/new" -perm /6000 -exec chmod ug-s '{}' +
rm -rf "$dir/debs"
mv "$dir/new" "$dir/root"
