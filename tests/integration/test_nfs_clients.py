"""nfs_export on the lab's host, with the kernel's server and real clients: what a parser alone cannot show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.nfs_host import ABSENT, ADDRESS, PATH, PRESENT, NfsHost, connected, with_client


@pytest.fixture(scope="module")
def host() -> Iterator[NfsHost]:
    with connected() as host:
        yield host


def test_a_file_system_that_the_kernel_cannot_export(host: NfsHost) -> None:
    """Found out only when the new directory is there: rolled back, and the directory is gone again."""
    host.reset()
    host.sh("rm -rf /run/torture.disk; mkdir -p /run/torture.disk/upper /run/torture.disk/work /srv/torture-disk")
    overlay = "lowerdir=/srv/nfs-ssd/others,upperdir=/run/torture.disk/upper,workdir=/run/torture.disk/work"
    host.sh(f"mount -t overlay -o {overlay} overlay /srv/torture-disk")
    before = host.table
    ran = host.run(**{**PRESENT, "path": "/srv/torture-disk/torture", "require_mountpoint": "/srv/torture-disk"})
    assert ran.verdict == "refused"
    assert (
        "The kernel's table was not as intended with this file; its previous content is back and served as before.\n"
        "  exportfs says: /srv/torture-disk/torture does not support NFS export\n"
    ) in ran.message
    assert host.table == before
    assert host.sh("ls /srv/torture-disk").split() == ["music", "photos"]


WRITER = """
import os, sys, time
path, stop = sys.argv[1], sys.argv[2]
count = errors = 0
gap, last = 0.0, time.monotonic()
with open(path + "/log", "w") as log:
    while not os.path.exists(stop):
        try:
            log.write(f"{count}\\n"); log.flush(); os.fsync(log.fileno())
            with open(path + "/log") as again:
                assert again.read().splitlines()[-1] == str(count)
            count += 1
        except OSError as error:
            errors += 1
            print(error, file=sys.stderr)
        now = time.monotonic()
        gap, last = max(gap, now - last), now
print(count, errors, round(gap, 2))
"""


def test_clients_of_the_parent_go_on(host: NfsHost) -> None:
    """They mounted the whole tree before; they write and read all the time, and no call of theirs fails."""
    host.reset()
    host.sh(f"mkdir -p /mnt/parent {PATH}; rm -f /run/torture.stop; mount -t nfs4 {ADDRESS}:/srv/nfs-ssd /mnt/parent")
    host.sh(f"cat > /run/torture.writer <<'END'\n{WRITER}END\n")
    host.sh(
        "nohup python3 /run/torture.writer /mnt/parent/torture /run/torture.stop > /run/torture.out 2>&1 &\n"
        "until [ -s /mnt/parent/torture/log ]; do sleep 0.1; done"
    )
    try:
        for params in (PRESENT, with_client(options=["ro", "no_subtree_check"]), ABSENT, PRESENT):
            seen = host.sh("wc -l < /mnt/parent/torture/log")
            assert host.run(**params).verdict == "changed"
            host.sh(f"until [ $(wc -l < /mnt/parent/torture/log) -gt {int(seen) + 2} ]; do sleep 0.1; done")
        assert "/srv/nfs-ssd" in (host.run(**PRESENT).finding("nfs.covered") or {})["message"]
    finally:
        host.sh("touch /run/torture.stop; sleep 1; umount -l /mnt/parent", check=False)
    written, errors, gap = host.sh("cat /run/torture.out").split()
    assert int(written) > 10
    assert errors == "0"
    print(f"parent's client: {written} writes read back, {errors} errors, longest pause {gap} s")


def test_a_client_mounts_and_writes_as_the_pods_user(host: NfsHost) -> None:
    """With the options of the volume; root is squashed, because no wider entry covers the path here."""
    host.reset()
    host.sh(": > /etc/exports; exportfs -ra")
    assert host.run(**PRESENT).verdict == "changed"
    host.sh(f"mkdir -p /mnt/own; mount -t nfs -o nfsvers=4,soft,timeo=30,retrans=3,actimeo=5 {ADDRESS}:{PATH} /mnt/own")
    try:
        host.sh("setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'echo hello > /mnt/own/model'")
        assert host.sh(f"stat -c %u:%g {PATH}/model; cat {PATH}/model").split() == ["1000:1000", "hello"]
        assert "Permission denied" in host.sh("touch /mnt/own/as-root 2>&1", check=False)
    finally:
        host.sh("umount /mnt/own")


def test_a_parent_with_fsid_0_breaks_mounts_by_the_full_path(host: NfsHost) -> None:
    """Why it is refused: the claim of the finding, shown with a client."""
    host.reset()
    host.sh(f"mkdir -p {PATH} /mnt/root; sed -i s/fsid=1/fsid=0/ /etc/exports; exportfs -ra")
    full = host.sh(f"mount -t nfs -o nfsvers=4 {ADDRESS}:{PATH} /mnt/root 2>&1", check=False)
    assert "No such file or directory" in full
    host.sh(f"mount -t nfs -o nfsvers=4 {ADDRESS}:/torture /mnt/root; umount /mnt/root")
