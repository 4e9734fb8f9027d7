"""nfs_export against the real exportfs: everything that can go wrong on a host that others depend on.

Each row of the table prepares a host, runs the module, and compares the whole export table before and after.
The host is the Debian of the lab's node (LAB_SUITE names another) in private namespaces of this machine, because
hundreds of processes take long on an emulated host; PORTAL_STT_TORTURE=lab runs the rows on the lab's host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.nfs_host import (
    ABSENT,
    CLIENT,
    FILE,
    FLAG,
    NAME_SERVER,
    PATH,
    PRESENT,
    ROOT,
    NfsHost,
    Ran,
    connected,
    stand_in,
    with_client,
)

ON_THE_LAB = os.environ.get("PORTAL_STT_TORTURE") == "lab"
SUITE = os.environ.get("LAB_SUITE", "bookworm")

MODEL, KEPT = f"touch {PATH}/model", f"test -f {PATH}/model"
DECLARED = f"mkdir -p {PATH}; chown 1000:1000 {PATH}; echo '{PATH} 10.77.0.0/24(ro,no_subtree_check)' "


@dataclass(frozen=True)
class Row:
    """One way to torture a host.

    prepare: shell, as root on the host. verdict and says: what has to come of the run; `says` is the refusal, or
    the finding that has to be among the others; `unsaid` must not be. served: whether our export is served afterwards.
    leaves: shell that has to succeed then.
    """

    name: str
    verdict: str
    says: str = ""
    prepare: str = ""
    params: Mapping[str, Any] = field(default_factory=lambda: PRESENT)
    served: bool = True
    leaves: str = ""
    unsaid: str = ""


REFUSES = f"The host's exportfs rejects {FILE} as it would be written; nothing was written."
ROWS = (
    Row("a valid file", "changed"),
    Row("the same again", "unchanged", prepare="present"),
    Row("other options", "changed", prepare="present", params=with_client(options=["ro", "no_subtree_check"])),
    Row("removal", "changed", "", f"present; {MODEL}", ABSENT, served=False, leaves=KEPT),
    Row("removal of what is not there", "unchanged", params=ABSENT, served=False),
    Row(
        "removal with the data",
        "changed",
        "",
        f"present; {MODEL}",
        {**ABSENT, "delete_data": PATH},
        served=False,
        leaves=f"test ! -e {PATH} -a -d /srv/nfs-ssd",
    ),
    Row(
        "removal with the data, and another name is repeated",
        "refused",
        f"The data of {PATH} are not deleted: /srv/nfs-ssd was named for deletion. "
        "Repeat the path of the export exactly.",
        f"present; {MODEL}",
        {**ABSENT, "delete_data": "/srv/nfs-ssd"},
        leaves=KEPT,
    ),
    Row(
        "removal with the data, and a disk is mounted among them",
        "refused",
        f"{PATH} is or holds a mountpoint; its data are not deleted.\n  {PATH}/disk\nUnmount it first.",
        f"present; {MODEL}; mkdir {PATH}/disk; mount -t tmpfs tmpfs {PATH}/disk",
        {**ABSENT, "delete_data": PATH},
        leaves=KEPT,
    ),
    Row(
        "removal with the data, and one of them is immutable",
        "refused",
        "It is no longer exported, but not all of it could be deleted: Operation not permitted. "
        "Look at what is left (immutable, in use?) and run again.",
        f"present; {MODEL}; {FLAG} + {PATH}/model",
        {**ABSENT, "delete_data": PATH},
        served=False,
        leaves=KEPT,
    ),
    Row(
        "removal with the data, and others export them",
        "refused",
        f"{PATH} is still exported by others; its data are not deleted.\n  {PATH} 10.77.0.5(",
        f"present; {MODEL}; echo '{PATH} 10.77.0.5(ro,no_subtree_check)' > /etc/exports.d/theirs.exports; exportfs -ra",
        {**ABSENT, "delete_data": PATH},
        leaves=KEPT,
    ),
    Row(
        "publishing, and the data are to go",
        "refused",
        f"{PATH} is to be exported, and its data are to be deleted. Delete data with state: absent only.",
        f"present; {MODEL}",
        {**PRESENT, "delete_data": PATH},
        leaves=KEPT,
    ),
    Row(
        "removal with the data, by a path that leads to those of others",
        "refused",
        f"The path '{PATH}/../others' is not a plain absolute path.",
        f"mkdir -p {PATH}; {MODEL}",
        {**ABSENT, "path": f"{PATH}/../others", "delete_data": f"{PATH}/../others"},
        served=False,
        leaves="test -d /srv/nfs-ssd/others/music",
    ),
    Row(
        "removal by a name that leads to a file of others",
        "refused",
        "The name '../exports.d/others' cannot be a file name in /etc/exports.d.",
        params={**ABSENT, "name": "../exports.d/others"},
        served=False,
        leaves="test -f /etc/exports.d/others.exports",
    ),
    Row(
        "the same content in a file that does not end in .exports",
        "changed",
        "exportfs reads only files that end in .exports; what others in /etc/exports.d declare is not served.",
        f"echo '{PATH} *(rw)' > /etc/exports.d/foo.conf",
    ),
    Row(
        "an unknown option, while the export is served",
        "refused",
        f'{REFUSES}\n  {FILE} line 1: exportfs says: unknown keyword "rwx" '
        f"[{PATH} 10.77.0.0/24(rwx,mountpoint=/srv/nfs-ssd)]\n"
        "Correct the options or clients in the line that it names.",
        prepare="present",
        params=with_client(options=["rwx"]),
    ),
    Row(
        "a blank before the parenthesis",
        "refused",
        "The client '10.77.0.0/24 ' is not a network: '10.77.0.0/24 ' does not appear to be an IPv4 or IPv6 network. "
        "Write a network with its prefix, as in 192.168.1.0/24.",
        params=with_client(host="10.77.0.0/24 "),
        served=False,
    ),
    Row(
        "a blank before the parenthesis in a file of somebody else",
        "changed",
        "/etc/exports.d/typo.exports line 1 has a blank before (rw,no_subtree_check): these options apply to every "
        "machine there is.",
        "echo '/srv/nfs-ssd/others 10.0.0.0/8 (rw,no_subtree_check)' > /etc/exports.d/typo.exports; exportfs -ra",
    ),
    Row(
        "an unclosed parenthesis",
        "refused",
        "'(rw' is not one option of exports(5). "
        "Write each option as its own item of the list, without parentheses, commas or blanks.",
        params=with_client(options=["(rw"]),
        served=False,
    ),
    Row(
        "a missing directory that nobody is told to make",
        "refused",
        f"{REFUSES}\n  exportfs says: Failed to stat {PATH}: No such file or directory\n"
        "Name the directory in directories, or correct the path.",
        params={**PRESENT, "directories": []},
        served=False,
    ),
    Row(
        "a bad network",
        "refused",
        "The client '10.77.0.0/33' is not a network: '10.77.0.0/33' does not appear to be an IPv4 or IPv6 network. "
        "Write a network with its prefix, as in 192.168.1.0/24.",
        params=with_client(host="10.77.0.0/33"),
        served=False,
    ),
    Row(
        "a client that cannot be resolved",
        "refused",
        "The host cannot resolve node.invalid; exportfs would leave it out without a word. "
        "Correct the name, enter it in the DNS or in /etc/hosts of the NFS host, or use the address.",
        params=with_client(host="node.invalid"),
        served=False,
    ),
    Row("a client by name", "changed", params=with_client(host="gpu-node-1")),
    Row("a client by a short name of the DNS", "changed", prepare=NAME_SERVER, params=with_client(host="nas")),
    Row("a client by its second name in the DNS", "changed", prepare=NAME_SERVER, params=with_client(host="store")),
    Row(
        "others by a short name of the DNS",
        "changed",
        prepare=f"{NAME_SERVER} echo '/srv/nfs-ssd/others/photos nas(rw)' >> /etc/exports; exportfs -ra 2>/dev/null",
    ),
    Row(
        "others by a second name, which they have changed and not exported yet: it is the same machine",
        "changed",
        prepare=f"{NAME_SERVER} echo '/srv/nfs-ssd/others/photos nas(rw)' >> /etc/exports; "
        "exportfs -ra 2>/dev/null; sed -i 's/nas(/store(/' /etc/exports",
    ),
    Row(
        "a machine twice, by name and by address",
        "refused",
        "nas and 10.77.0.36 are the same machine, and exportfs keeps only one of the two entries. "
        "Keep one of them, with all its options.",
        NAME_SERVER,
        {**PRESENT, "clients": [{**CLIENT, "host": "nas"}, {**CLIENT, "host": "10.77.0.36"}]},
        served=False,
    ),
    Row(
        "a lock file and a copy of others beside their exports",
        "changed",
        prepare="cd /etc/exports.d; touch zfs.exports.lock; cp others.exports others.exports.bak",
        unsaid="exportfs reads only files that end in .exports",
    ),
    Row(
        "a bad line before a good one",
        "refused",
        f'{REFUSES}\n  {FILE} line 1: exportfs says: unknown keyword "async_please" '
        f"[{PATH} 10.77.0.9(async_please,mountpoint=/srv/nfs-ssd)]\n"
        "Correct the options or clients in the line that it names.",
        params={**PRESENT, "clients": [{"host": "10.77.0.9", "options": ["async_please"]}, CLIENT]},
        served=False,
    ),
    Row(
        "the same path and client in /etc/exports",
        "refused",
        f"/etc/exports line 2 already exports {PATH} to 10.77.0.0/24; exportfs keeps only one of the two entries.",
        f"{DECLARED} >> /etc/exports; exportfs -ra",
        served=False,
    ),
    Row(
        "the same path and client in a file that is read after ours",
        "refused",
        f"/etc/exports.d/zzz.exports line 1 already exports {PATH} to 10.77.0.0/24; exportfs keeps only one of the "
        "two entries.",
        f"{DECLARED} > /etc/exports.d/zzz.exports; exportfs -ra",
        served=False,
    ),
    Row(
        "a broken file of somebody else, never served",
        "changed",
        "exportfs complains about files of others.",
        "echo '/srv/nfs-ssd/others 10.77.0.0/16(rw' > /etc/exports.d/broken.exports; exportfs -ra 2>/dev/null; true",
    ),
    Row(
        "a file of somebody else, broken after it was served",
        "refused",
        "2 exports of others would not survive `exportfs -ra`, whoever runs it: the files do not declare what is "
        "served now.\n"
        "  lost: /srv/nfs-ssd/others/photos 10.77.0.7(sync,wdelay,hide,no_subtree_check,sec=sys,rw,secure,root_squash,"
        "no_all_squash)\n"
        "  lost: /srv/nfs-ssd/others/photos @house(sync,wdelay,hide,no_subtree_check,sec=sys,ro,secure,root_squash,"
        "no_all_squash)\n"
        "  /etc/exports.d/others.exports line 3: exportfs says: syntax error: bad option list\n",
        "sed -i 's/photos 10.77.0.7(rw,no_subtree_check)/photos 10.77.0.7(rw/' /etc/exports.d/others.exports",
        served=False,
    ),
    Row(
        "an export made by hand, in no file",
        "refused",
        "1 export of others would not survive `exportfs -ra`, whoever runs it: the files do not declare what is served "
        "now.\n  lost: /srv/nfs-ssd/others 10.77.0.8(",
        "exportfs -o ro,no_subtree_check 10.77.0.8:/srv/nfs-ssd/others",
        served=False,
    ),
    Row(
        "an entry of somebody else, edited and not exported yet",
        "changed",
        "1 export of others, declared in a file and not served yet, will be served as well.",
        "echo '/srv/nfs-ssd/others 10.77.0.8(ro,no_subtree_check)' > /etc/exports.d/new.exports",
    ),
    Row(
        "/etc/exports cannot be read",
        "refused",
        "1 export of others would not survive `exportfs -ra`, whoever runs it: the files do not declare what is served "
        "now.\n  lost: /srv/nfs-ssd *(",
        "rm /etc/exports; ln -s /nowhere /etc/exports",
        served=False,
    ),
    Row("/etc/exports.d does not exist", "changed", prepare="rm -r /etc/exports.d; exportfs -ra"),
    Row(
        "/etc/exports does not exist",
        "changed",
        prepare="rm /etc/exports; exportfs -ra 2>/dev/null; true",
        unsaid="exportfs complains about files of others",
    ),
    Row(
        "no room in /etc/exports.d",
        "refused",
        "The file could not be written: No space left on device. Nothing was changed. "
        "Look at the file system of /etc (full, read-only, immutable?) and run again.",
        "cp -a /etc/exports.d /run/torture.d; mount -t tmpfs -o size=64k tmpfs /etc/exports.d; "
        "cp -a /run/torture.d/. /etc/exports.d/; rm -r /run/torture.d; "
        "head -c 1M /dev/zero > /etc/exports.d/filler 2>/dev/null; true",
        served=False,
    ),
    Row(
        "no room for the table itself in /var/lib/nfs",
        "refused",
        "/var/lib/nfs has 0 KiB left: exportfs would cut the table short and every export behind the cut would end. "
        "Make room on that disk first.",
        "cp -a /var/lib/nfs /run/torture.nfs; mount -t tmpfs -o size=64k tmpfs /var/lib/nfs; "
        "cp -a /run/torture.nfs/. /var/lib/nfs/; rm -r /run/torture.nfs; "
        "head -c 1M /dev/zero > /var/lib/nfs/filler 2>/dev/null; true",
        served=False,
    ),
    Row(
        "our file is immutable",
        "refused",
        f"The export file cannot be changed: an immutable flag is set.\n  {FILE}\nAsk who set it, then `chattr -i` it.",
        f"present; {FLAG} + {FILE}",
        params=with_client(options=["ro", "no_subtree_check"]),
    ),
    Row("/etc/exports is immutable, which is fine", "changed", prepare=f"{FLAG} + /etc/exports"),
    Row(
        "letters beyond ASCII and blanks in the path",
        "changed",
        params={**PRESENT, "path": "/srv/nfs-ssd/моят глас"},
    ),
    Row(
        "200 exports of others",
        "changed",
        prepare="for n in $(seq 200); do mkdir -p /srv/nfs-ssd/many/$n; "
        "echo /srv/nfs-ssd/many/$n '10.77.0.0/24(ro,no_subtree_check)'; done > /etc/exports.d/many.exports; "
        "exportfs -ra",
    ),
    Row(
        "100 clients",
        "changed",
        params={**PRESENT, "clients": [{**CLIENT, "host": f"10.77.{n}.0/24"} for n in range(100)]},
    ),
    Row(
        "the disk is not mounted",
        "refused",
        "/srv/torture-disk is not a mountpoint: the disk is not mounted, and models would fill the root disk. "
        "Mount it (`mount /srv/torture-disk`, and an entry in /etc/fstab), or name the right mountpoint.",
        "mkdir /srv/torture-disk",
        {**PRESENT, "path": "/srv/torture-disk/torture", "require_mountpoint": "/srv/torture-disk"},
        served=False,
    ),
    Row(
        "a symlink out of the share",
        "refused",
        f"{PATH} is a symlink to /etc; a symlink is never followed, it could lead out of the share. "
        "Name the directory itself, or replace the symlink with a directory.",
        f"ln -s /etc {PATH}",
        served=False,
    ),
    Row(
        "more room needed than there is",
        "refused",
        "1000000 MiB are needed.",
        params={**PRESENT, "min_free_mib": 1000000},
        served=False,
    ),
    Row(
        "the world as client, not asked for by name",
        "refused",
        "The client * lets every machine that reaches the server mount the export. "
        "Name the cluster's network instead, or allow the world by name with allow_world: true.",
        params=with_client(host="*"),
        served=False,
    ),
    Row(
        "the world as client, asked for by name",
        "changed",
        "The client * lets every machine that reaches the server mount the export.",
        params={**with_client(host="*"), "allow_world": True},
    ),
    Row(
        "no_root_squash",
        "changed",
        "no_root_squash lets root on 10.77.0.0/24 write here as root, set-uid files included.",
        params=with_client(options=["rw", "no_subtree_check", "no_root_squash"]),
    ),
    Row(
        "no private namespaces, so no dry run",
        "refused",
        "The export cannot be tried out beforehand: private namespaces cannot be made on this host.",
        "mount --bind /bin/false /usr/bin/unshare",
        served=False,
    ),
    Row(
        "fsid=0",
        "refused",
        "fsid=0 would make this path the root of all NFSv4 exports of the host, and every other mount by full path "
        "would fail with 'No such file or directory'.",
        params=with_client(options=["rw", "fsid=0"]),
        served=False,
    ),
    Row(
        "fsid=0, written otherwise",
        "refused",
        f"exportfs reads these options as fsid=0: {PATH} would be the root of all NFSv4 exports of the host",
        params=with_client(options=["rw", "no_subtree_check", "fsid=4294967296"]),
        served=False,
    ),
    Row(
        "every machine, written otherwise",
        "refused",
        "The client ?* lets every machine that reaches the server mount the export.",
        params=with_client(host="?*"),
        served=False,
    ),
    Row(
        "a parent with fsid=0",
        "refused",
        "/etc/exports line 1 exports /srv/nfs-ssd with fsid=0: to its NFSv4 clients that is the root, so "
        f"{PATH} is mounted as /torture; a mount by the full path fails with 'No such file or directory'.",
        "sed -i s/fsid=1/fsid=0/ /etc/exports; exportfs -ra",
        served=False,
    ),
    Row(
        "covered by the parent, and to be left to it",
        "changed",
        f"{PATH} is served by the export of /srv/nfs-ssd and by no entry of its own.",
        params={**PRESENT, "when_covered": "skip"},
        served=False,
    ),
    Row(
        "covered by the parent, which lets nobody write, and to be left to it",
        "changed",
        prepare="sed -i s/rw,/ro,/ /etc/exports; exportfs -ra",
        params={**PRESENT, "when_covered": "skip"},
    ),
    Row(
        "covered by the parent, and not wanted so",
        "refused",
        f"{PATH} is already exported to the same clients, by /srv/nfs-ssd.",
        params={**PRESENT, "when_covered": "fail"},
        served=False,
    ),
    Row(
        "another hand breaks a file of its own between the dry run and the export: rolled back and told",
        "refused",
        "Serving this file went wrong; its previous content is back, but these exports are not as before:\n"
        "  lost: /srv/nfs-ssd/others/music",
        """mkdir -p /run/torture.bin; cp /usr/sbin/exportfs /run/torture.bin/exportfs
cat > /run/torture.bin/wrapper <<'END'
#!/bin/sh
if [ "$1" = -ra ] && [ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ]; then
  sed -i s/10.77.0.0.16// /etc/exports.d/others.exports
  sed -i 's/ (ro/ 10.0.0.1(ro/' /etc/exports.d/others.exports
fi
exec /run/torture.bin/exportfs "$@"
END
chmod +x /run/torture.bin/wrapper; mount --bind /run/torture.bin/wrapper /usr/sbin/exportfs""",
        served=False,
    ),
)
ANOTHER_HAND = "another hand breaks"


@dataclass(frozen=True)
class Shown:
    """A row as docs/nfs.md shows it."""

    name: str
    verdict: str
    says: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    lost: int


@pytest.fixture(scope="module")
def host() -> Iterator[NfsHost]:
    with connected() if ON_THE_LAB else stand_in(SUITE) as host:
        yield host


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    return []


def prepare(host: NfsHost, row: Row) -> None:
    host.reset()
    script = row.prepare
    if script.startswith("present"):
        assert host.run(**PRESENT).verdict == "changed"
        script = script.removeprefix("present").removeprefix("; ")
    host.sh(script)


def lost(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    """What clients of others would miss: entries that are gone or changed. Ours is the only one with a mountpoint."""
    return [line for line in before if line not in after and "mountpoint=" not in line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_torture(host: NfsHost, shown: list[Shown], row: Row) -> None:
    prepare(host, row)
    before = tuple(map(str, host.table))
    checked = host.run(**row.params, _ansible_check_mode=True)
    assert tuple(map(str, host.table)) == before, "check mode changed the table"
    ran = host.run(**row.params)
    after = tuple(map(str, host.table))
    others = lost(before, after)
    shown.append(Shown(row.name, ran.verdict, said(ran, row.says), before, after, len(others)))

    assert ran.verdict == row.verdict, ran
    found = ran.message + "".join(each["message"] for each in (ran.result or {})["findings"])
    assert row.says in found
    assert not row.unsaid or row.unsaid not in found
    if ANOTHER_HAND in row.name:
        assert others == [line for line in before if "others/music" in line], "what the other hand itself did"
        return
    assert others == []
    path = str(row.params["path"]).replace(" ", "\\040")
    assert any(line.startswith(f"{path} ") and "mountpoint=" in line for line in after) is row.served
    host.sh(row.leaves)
    if not any(cause in row.name for cause in ("no room in", "of them is immutable")):
        assert checked.verdict == ran.verdict, "check mode foretells the run"
    if ran.verdict == "changed":
        assert host.run(**row.params).verdict == "unchanged"


def said(ran: Ran, says: str) -> str:
    """The words for the table: the refusal without its subject, or the finding."""
    if ran.verdict == "refused":
        return re.sub(r"^\S+( on \S+)?: ", "", ran.message)
    findings = [each for each in (ran.result or {})["findings"] if says and says in each["message"]]
    return f"{findings[0]['message']} {findings[0]['remedy']}" if findings else ""


def test_two_runs_at_once(host: NfsHost, shown: list[Shown]) -> None:
    """Two other processes beside each other, a third of them for another export."""
    host.reset()
    before = tuple(map(str, host.table))
    second = {**PRESENT, "name": "torture-2", "path": f"{PATH}/two", "directories": []}
    host.sh(f"mkdir -p {PATH}/two")
    rans = host.run_together(PRESENT, PRESENT, second)
    after = tuple(map(str, host.table))
    assert sorted(ran.verdict for ran in rans) == ["changed", "changed", "unchanged"]
    assert lost(before, after) == []
    assert sum(line.startswith(PATH) for line in after) == 2
    shown.append(Shown("two runs at once, and a third for another export", "changed", "", before, after, 0))


LOOKS = re.compile(r"open \d|subprocess.Popen \S*(unshare|nfsconf|exportfs' b'-s)")


@pytest.mark.parametrize("doing", ["publishing", "removing", "removing, with the data,"])
@pytest.mark.parametrize("within", [False, True], ids=["before each step", "within each command"])
def test_killed_at_each_step(host: NfsHost, shown: list[Shown], doing: str, within: bool) -> None:
    """SIGKILL: nobody else loses anything, also after a reboot in that state, and the next run heals."""
    params = PRESENT if doing == "publishing" else ABSENT
    prepared = Row("", "", prepare="" if params is PRESENT else f"present; {MODEL}")
    if "data" in doing:
        params = {**ABSENT, "delete_data": PATH}
    prepare(host, prepared)
    before = tuple(map(str, host.table))
    steps = host.run(**params).steps
    wanted = tuple(map(str, host.table))
    assert "rename" in " ".join(steps)
    first = next(number for number, step in enumerate(steps, start=1) if not LOOKS.match(step))
    chosen = range(first, len(steps) + 1)  # until then the run has only looked
    for step in (each for each in chosen if not within or "Popen" in steps[each - 1]):
        prepare(host, prepared)
        host.run(**params, kill_at=step, within=within)
        assert lost(before, tuple(map(str, host.table))) == [], steps[step - 1]
        if not within:  # a power loss here: the table is read from the files again
            host.sh(": > /var/lib/nfs/etab; exportfs -ra", check=False)
            assert lost(before, tuple(map(str, host.table))) == [], steps[step - 1]
        assert host.run(**params).verdict in ("changed", "unchanged"), steps[step - 1]
        assert tuple(map(str, host.table)) == wanted, steps[step - 1]
        assert host.run(**params).verdict == "unchanged", steps[step - 1]
        assert host.sh("find /etc/exports.d -name '.*' -type f") == "", steps[step - 1]
        host.sh(f"test ! -e {PATH}" if "data" in doing else f"test -d {PATH}")
    when = "within each command of" if within else "before each step of"
    name = f"SIGKILL {when} {doing}{'' if within else ', then power loss'}; then the next run"
    shown.append(Shown(name, "changed", "", before, wanted, 0))


def test_check_mode_never_changes_the_live_table(host: NfsHost) -> None:
    """Every exportfs that check mode starts is traced, with the namespaces it runs in."""
    host.reset()
    host.sh(
        """mkdir -p /run/torture.bin; cp /usr/sbin/exportfs /run/torture.bin/exportfs; rm -f /run/torture.trace
cat > /run/torture.bin/wrapper <<'END'
#!/bin/sh
echo "$(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) $*" >> /run/torture.trace
exec /run/torture.bin/exportfs "$@"
END
chmod +x /run/torture.bin/wrapper; mount --bind /run/torture.bin/wrapper /usr/sbin/exportfs"""
    )
    live = host.sh("echo $(readlink /proc/1/ns/mnt) $(readlink /proc/1/ns/net)").strip()
    assert host.run(**PRESENT, _ansible_check_mode=True).verdict == "changed"
    checked = host.sh("cat /run/torture.trace; rm /run/torture.trace").splitlines()
    assert [line.removeprefix(live).strip() for line in checked if line.startswith(live)] == ["-s"]
    inside = [line.split(" ", 2) for line in checked if not line.startswith(live)]
    assert [call[2] for call in inside] == ["-ra", "-s"] * 3
    assert all(call[0] not in live and call[1] not in live for call in inside), "both namespaces are private"
    assert host.run(**PRESENT).verdict == "changed"  # the trace sees it when the live table is changed
    assert f"{live} -ra" in host.sh("cat /run/torture.trace").splitlines()


def test_docs_show_this_run(host: NfsHost, shown: list[Shown]) -> None:
    if len(shown) < len(ROWS) + 7:
        pytest.skip("only some of the rows ran")
    if ON_THE_LAB or not host.sh("cat /etc/debian_version").startswith("12."):
        pytest.skip("the table is that of Debian 12 in namespaces")
    document = ROOT / "docs/nfs-torture.md"
    if os.environ.get("PORTAL_STT_WRITE_DOCS"):
        document.write_text(rendered(shown), encoding="utf-8")
    assert document.read_text(encoding="utf-8") == rendered(shown), "run with PORTAL_STT_WRITE_DOCS=1 to renew it"


INTRODUCTION = """# The export, tortured

Each row is a run in check mode, the run itself on a host with other exports, and a second run; SIGKILL is sent at every
step that changes something.

Written by `PORTAL_STT_WRITE_DOCS=1 pytest tests/integration/test_nfs_export.py`; every other complete run compares it.
The parser is Debian's own, nfs-utils 2.6.2 of Debian 12.

| what | result | exports before | after | others' exports lost | says |
|---|---|---|---|---|---|
"""


def rendered(shown: list[Shown]) -> str:
    """The document: the table of all rows, with what each refusal or finding says first."""
    lines = []
    for row in shown:
        losses = f"0 ({row.lost} by the other hand itself)" if row.lost else "0"
        says = row.says.partition("\n")[0].replace("|", "\\|").replace("*", "\\*")
        lines.append(f"| {row.name} | {row.verdict} | {len(row.before)} | {len(row.after)} | {losses} | {says} |")
    return INTRODUCTION + "\n".join(lines) + "\n"
