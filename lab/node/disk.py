"""The node's disk image: Debian with containerd, a kubelet and an NFS server, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import inspect
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import binaries, images
from lab.console import LabError, say
from lab.paths import CACHE, alone

HERE = Path(__file__).resolve().parent
STORE = CACHE / "node"
BUILD = STORE / "build.lock"
"""Held while something is made in the store: one lab at a time."""

PACKAGES = (
    "containerd",
    "containernetworking-plugins",
    "initramfs-tools",
    "iproute2",
    "iptables",
    "kmod",
    "linux-image-cloud-amd64",
    "nfs-common",
    "nfs-kernel-server",
    "openssh-server",
    "python3",
    "runc",
    "systemd-sysv",
    "udev",
)

IDLE_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "modprobe@configfs.service",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
    "nfs-blkmap.service",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
)
"""Units that only cost a guest which lives for minutes."""


@dataclass(frozen=True)
class Disk:
    """What a machine boots from. Nothing writes to it: each machine has its own throw-away layer."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root.img"

    @property
    def share(self) -> Path:
        """The empty file system of the NFS share."""
        return self.folder / "nfs-ssd.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"


def build(suite: str) -> Disk:
    """The disk for Debian `suite`, from the cache if nothing that goes into it has changed.

    Raises LabError when a tool is missing or fails.
    """
    kubelet, base = binaries.find("kubelet"), images.base_archive()
    key = _digest(
        suite,
        *PACKAGES,
        *IDLE_UNITS,
        *(inspect.getsource(step) for step in (_make, _preload)),
        *_tree(HERE, "preload.sh", "initramfs/**/*", "rootfs/**/*"),
        hashlib.sha256(kubelet.read_bytes()).hexdigest(),
        _manifest_digest(base),
    )
    disk = Disk(STORE / f"disk-{suite}-{key}")
    with alone(BUILD):
        if not disk.folder.exists():
            _make(disk, root_file_system(suite), kubelet, base)
            _forget_others(f"disk-{suite}-*", disk.folder)
    return disk


def root_file_system(suite: str) -> Path:
    """A tar of Debian ``suite`` with the node's packages, nothing of ours in it yet. To be called `alone(BUILD)`."""
    key = _digest(suite, *PACKAGES, *_tree(HERE, "initramfs/**/*"))
    archive = STORE / f"rootfs-{suite}-{key}.tar"
    if archive.exists():
        return archive
    say(f"building Debian {suite}'s root file system for the node (a minute or two, once)")
    partial = archive.with_name("partial.tar")
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
        f"--essential-hook=sync-in {HERE / 'initramfs'} /",
        suite,
        str(partial),
        *_mirrors(suite),
    )
    partial.rename(archive)
    _forget_others(f"rootfs-{suite}-*", archive)
    return archive


def _mirrors(suite: str) -> list[str]:
    """The host's own Debian mirrors as apt sources of ``suite``; none (mmdebstrap's default) where it has none."""
    targets = _run("apt-get", "indextargets", "--format=$(LABEL) $(SITE)", "Created-By: Packages")
    suites = {"Debian": suite, "Debian-Security": f"{suite}-security"}
    known = dict(line.rsplit(" ", 1) for line in targets.splitlines())
    return [f"deb {known[label]} {of} main" for label, of in suites.items() if label in known]


def _make(disk: Disk, rootfs: Path, kubelet: Path, base: Path) -> None:
    say("making the node's disk image (half a minute, once)")
    with tempfile.TemporaryDirectory(prefix="making-", dir=STORE) as scratch:
        root, made = Path(scratch, "root"), Disk(Path(scratch, "disk"))
        root.mkdir(mode=0o755)
        made.folder.mkdir()
        _run(
            "tar",
            "--extract",
            "--file",
            rootfs,
            "--directory",
            root,
            "--numeric-owner",
            "--xattrs",
            "--same-permissions",
        )
        shutil.copytree(HERE / "rootfs", root, dirs_exist_ok=True)
        shutil.copy(kubelet, root / "usr/local/bin/kubelet")
        for secret in root.glob("etc/ssh/ssh_host_*"):  # each lab brings its own
            secret.unlink()
        (root / "etc/lab").mkdir()
        (root / "srv/nfs-ssd").mkdir()
        _run("chroot", root, "systemctl", "--quiet", "enable", "systemd-networkd", "kubelet")
        _run("chroot", root, "systemctl", "--quiet", "mask", *IDLE_UNITS)
        _preload(root, base)
        shutil.copy(next(root.glob("boot/vmlinuz-*")), made.kernel)
        shutil.copy(next(root.glob("boot/initrd.img-*")), made.initrd)
        _file_system(made.root, "8G", "root", "-O", "^has_journal", "-d", root)
        _file_system(made.share, "4G", "nfs-ssd")
        made.folder.rename(disk.folder)


def _preload(root: Path, base: Path) -> None:
    """The lower layer of the speech server's image is in containerd's store, unpacked."""
    archives = root / "images"
    archives.mkdir()
    shutil.copy(base, archives / "base.tar")
    _run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", HERE / "preload.sh", root)
    shutil.rmtree(archives)


def _file_system(image: Path, size: str, label: str, *options: str | Path) -> None:
    _run("mkfs.ext4", "-q", "-L", label, "-E", "lazy_itable_init=1,nodiscard", *options, image, size)


def _manifest_digest(archive: Path) -> str:
    """Digest of an OCI archive's index: it names all that is inside."""
    with tarfile.open(archive) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        return hashlib.sha256(index.read()).hexdigest()


def _tree(folder: Path, *patterns: str) -> Iterator[str]:
    """Name, mode and content of every file in `folder` that fits one of the patterns."""
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file()):
        yield f"{path.relative_to(folder)} {path.stat().st_mode:o} {path.read_text()}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _forget_others(pattern: str, keep: Path) -> None:
    """Removes what is older than a day: a younger one may be another lab's."""
    for old in STORE.glob(pattern):
        if old != keep and time.time() - old.stat().st_mtime > 86400:
            shutil.rmtree(old) if old.is_dir() else old.unlink()


def _run(*command: str | Path) -> str:
    """Standard output of a command; LabError with its standard error when it fails or is missing."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is missing. Install it: apt-get install mmdebstrap e2fsprogs") from error
    if done.returncode:
        end = "\n".join(f"    {line}" for line in done.stderr.splitlines()[-12:])
        raise LabError(f"`{' '.join(words[:3])} …` failed while the node's disk was made:\n{end}")
    return done.stdout
