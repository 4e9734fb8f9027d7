#!/bin/sh
# preload.sh ROOTFS: put the OCI archives of ROOTFS/images into its containerd store, unpacked.
# Runs the file system's own containerd in it at native speed: inside the emulated machine the same
# takes minutes. Call it in a mount and a process namespace of its own (unshare -m -p -f --kill-child).
set -eu
root=$(readlink -f "$1")
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
printf '%s\n' 'version = 2' 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' >"$root/tmp/config.toml"
chroot "$root" containerd --config /tmp/config.toml --log-level warn &
tries=0
until chroot "$root" ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo 'containerd did not start' >&2; exit 1; }
    sleep 0.1
done
for archive in "$root"/images/*; do
    chroot "$root" ctr --namespace k8s.io images import "/images/${archive##*/}"
done
kill $!
wait $! || true
