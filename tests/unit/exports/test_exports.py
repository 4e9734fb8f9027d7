"""Exports: the intent, the texts around exportfs, the judgement of a host, and the change with its way back.

Texts of exportfs are those of nfs-utils 2.6.2 (Debian 12), taken from runs in private namespaces.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.portal.stt.plugins.module_utils._exports import directories
from ansible_collections.portal.stt.plugins.module_utils._exports import publish as publishing
from ansible_collections.portal.stt.plugins.module_utils._exports.change import intent_of
from ansible_collections.portal.stt.plugins.module_utils._exports.directories import Directory
from ansible_collections.portal.stt.plugins.module_utils._exports.dry_run import (
    Complaint,
    Completed,
    Parsed,
    complaints,
)
from ansible_collections.portal.stt.plugins.module_utils._exports.export import (
    NOTE,
    Entry,
    Export,
    ExportError,
    check_intent,
    client_of,
    difference,
    parse_table,
)
from ansible_collections.portal.stt.plugins.module_utils._exports.files import (
    Statement,
    host_names,
    is_mistyped,
    line_in,
    locate,
    statements,
)
from ansible_collections.portal.stt.plugins.module_utils._exports.host import HostFacts
from ansible_collections.portal.stt.plugins.module_utils._exports.judge import Judge, Trial
from ansible_collections.portal.stt.plugins.module_utils._exports.names import Host, Names, resolve
from ansible_collections.portal.stt.plugins.module_utils._findings import Finding, Status

LAN = Names(
    {
        "nas": Host("nas.example.lan", ("192.168.1.36",)),
        "store.example.lan": Host("nas.example.lan", ("192.168.1.36",)),
        "both.example.lan": Host("both.example.lan", ("192.168.1.50", "10.9.9.9")),
    },
    ("unknown.lan",),
)
SUBJECT = "/srv/nfs-ssd/portal-stt on pve"
SAFE = ("rw", "sync", "no_subtree_check", "root_squash")
SERVED = ("sync", "wdelay", "hide", "no_subtree_check", "sec=sys", "rw", "secure", "root_squash", "no_all_squash")
PARENT = Entry("/srv/nfs-ssd", "*", ("sync", "fsid=1", "sec=sys", "rw", "insecure", "no_root_squash"))
OURS = Entry("/srv/nfs-ssd/portal-stt", "192.168.1.0/24", SERVED)


def export(path: str = OURS.path, host: str = OURS.client, options: Iterable[str] = SAFE, **kwargs: str) -> Export:
    return Export("portal-stt", path, (client_of(host, options),), **kwargs)


def lines(findings: Iterable[Finding]) -> list[str]:
    return [f"{each.status.value} {each.check}: {each.message} {each.remedy}".strip() for each in findings]


# --- the intent ---


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (export(), "/srv/nfs-ssd/portal-stt 192.168.1.0/24(rw,sync,no_subtree_check,root_squash)\n"),
        (
            export(mountpoint="/srv/nfs-ssd", options=["ro"]),
            "/srv/nfs-ssd/portal-stt 192.168.1.0/24(ro,mountpoint=/srv/nfs-ssd)\n",
        ),
        (
            export(path='/srv/модели "a" #1\\', options=["ro"]),
            "/srv/модели\\040\\042a\\042\\040\\0431\\134 192.168.1.0/24(ro)\n",
        ),
        (export(host="10.0.0.0/255.255.255.0", options=["ro"]), "/srv/nfs-ssd/portal-stt 10.0.0.0/24(ro)\n"),
        (export(host="2001:DB8:0::/64", options=["ro"]), "/srv/nfs-ssd/portal-stt 2001:db8::/64(ro)\n"),
        (export(host="*.lan", options=["ro"]), "/srv/nfs-ssd/portal-stt *.lan(ro)\n"),
    ],
)
def test_the_file_is_written_canonically(given: Export, text: str) -> None:
    assert given.text == text + NOTE
    assert check_intent(given, subject=SUBJECT, allow_world=False) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            replace(export(), name="../exports"),
            "The name '../exports' cannot be a file name in /etc/exports.d. "
            "Use letters, digits, '-' and '_', at most 64, as in 'portal-stt'.",
        ),
        *(
            (
                export(path=path),
                f"The path {path!r} is not a plain absolute path. "
                "Write it from the root, without '.', '..', double or trailing slashes; '/' itself is never exported.",
            )
            for path in ("srv", "/", "/srv/", "/srv//a", "/srv/../etc", "/srv/./a")
        ),
        (
            export(path="/srv/a\nb"),
            "The path '/srv/a\\nb' has a character that cannot be printed. Rename the directory.",
        ),
        (replace(export(), clients=()), "No client is named, so nobody could mount it. Name at least one client."),
        (
            export(mountpoint="/srv/other"),
            "/srv/nfs-ssd/portal-stt is not below /srv/other, where it is expected. "
            "Correct the path, or the mountpoint that is required.",
        ),
        (
            export(path="/srv/a,b/c", mountpoint="/srv/a,b"),
            "The mountpoint '/srv/a,b' cannot be written as an option: exportfs could not read its own table any more. "
            "Rename the mountpoint, or require none.",
        ),
        (
            export(mountpoint="/srv/nfs-ssd/"),
            "The mountpoint '/srv/nfs-ssd/' is not a plain absolute path. "
            "Write it as `findmnt` prints it, without '.', '..', double or trailing slashes.",
        ),
        (
            export(host="192.168.1.7/24"),
            "The client '192.168.1.7/24' is not a network: 192.168.1.7/24 has host bits set. "
            "Write 192.168.1.0/24, or the address alone.",
        ),
        (
            export(host="10.0.0.0/33"),
            "The client '10.0.0.0/33' is not a network: '10.0.0.0/33' does not appear to be an IPv4 or IPv6 network. "
            "Write a network with its prefix, as in 192.168.1.0/24.",
        ),
        *(
            (
                export(host=host),
                f"The client {host!r} is not a host, network, wildcard or netgroup. Write it as in 192.168.1.20, "
                "192.168.1.0/24, node-1.lan, *.lan or @nodes; its options go to 'options'.",
            )
            for host in ("node-1 ", "node-1(rw)", "a b", "", "-ro")
        ),
        (
            export(options=[]),
            "The client 192.168.1.0/24 has no options. Write at least one, as in ['rw', 'sync', 'no_subtree_check'].",
        ),
        *(
            (
                export(options=[option]),
                f"{option!r} is not one option of exports(5). "
                "Write each option as its own item of the list, without parentheses, commas or blanks.",
            )
            for option in ("rw,sync", "(rw", "rw)", " rw", "rw sync", "", "rw #")
        ),
        *(
            (
                export(options=["rw", option]),
                f"{option} would make this path the root of all NFSv4 exports of the host, and every other mount by "
                "full path would fail with 'No such file or directory'. "
                "Leave it out; where the file system needs a number, use another one, as in fsid=127.",
            )
            for option in ("fsid=0", "fsid=root", "fsid=00", "fsid=0x0")
        ),
        (
            replace(
                export(),
                clients=(client_of("10.0.0.1", SAFE), client_of("10.0.0.1/32", SAFE), client_of("10.0.0.1", SAFE)),
            ),
            "The client 10.0.0.1 is named twice. Keep one entry with all its options.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Export, expected: str) -> None:
    assert lines(check_intent(given, subject=SUBJECT, allow_world=False)) == [f"refused nfs.intent: {expected}"]


@pytest.mark.parametrize(
    ("given", "allow_world", "expected"),
    [
        *(
            (
                export(host=host),
                False,
                f"refused nfs.world: The client {host} lets every machine that reaches the server mount the export. "
                "Name the cluster's network instead, or allow the world by name with [allow_world]: true.",
            )
            for host in ("*", "**", "?*", "*.*", "[0-9]*", "0.0.0.0/0", "0.0.0.0/1", "::/0", "2000::/3")
        ),
        (
            export(host="*"),
            True,
            "warning nfs.world: The client * lets every machine that reaches the server mount the export. "
            "Name the cluster's network instead, where it is known.",
        ),
        (
            export(host="8.8.8.0/24"),
            False,
            "warning nfs.world: The client 8.8.8.0/24 is on the public internet; NFS with sec=sys has no password. "
            "Name a private network, or put a VPN in between.",
        ),
        (
            export(options=["rw", "no_root_squash"]),
            False,
            "warning nfs.root_squash: no_root_squash lets root on 192.168.1.0/24 write here as root, set-uid files "
            "included. Use root_squash: the pods need no root, the directories belong to their user.",
        ),
    ],
)
def test_what_is_risky_is_told(given: Export, allow_world: bool, expected: str) -> None:
    assert lines(check_intent(given, subject=SUBJECT, allow_world=allow_world)) == [expected]


PARAMS = {
    "name": "portal-stt",
    "path": OURS.path,
    "state": "present",
    "clients": [{"host": OURS.client, "options": list(SAFE)}],
    "directories": [],
    "require_mountpoint": None,
    "when_covered": "declare",
    "allow_world": False,
    "min_free_mib": 0,
    "server_pending": False,
    "delete_data": None,
}


@pytest.mark.parametrize(
    ("path", "mode", "expected"),
    [
        ("/etc", "0755", "directories: /etc: '/etc' is not a plain path inside /srv/nfs-ssd/portal-stt."),
        ("../x", "0755", "directories: ../x: '../x' is not a plain path inside /srv/nfs-ssd/portal-stt."),
        ("a/../b", "0755", "directories: a/../b: 'a/../b' is not a plain path inside /srv/nfs-ssd/portal-stt."),
        ("hub", "493", "directories: hub: The mode '493' is not octal."),
    ],
)
def test_directories_stay_inside(path: str, mode: str, expected: str) -> None:
    with pytest.raises(ExportError) as caught:
        intent_of({**PARAMS, "directories": [{"path": path, "owner": 1000, "group": 1000, "mode": mode}]})
    assert f"{caught.value.subject}: {caught.value.message}" == expected


# --- texts of exportfs and of export files ---


def test_the_table_is_read_as_exportfs_prints_it() -> None:
    text = "/srv/nfs-ssd  *(sync,fsid=1)\n/srv/\\040я  @ng(ro)\n/srv/a(b)  2001:db8::/64(rw,mountpoint=/srv/x)\n"
    assert parse_table(text) == (
        Entry("/srv/ я", "@ng", ("ro",)),
        Entry("/srv/a(b)", "2001:db8::/64", ("rw", "mountpoint=/srv/x")),
        Entry("/srv/nfs-ssd", "*", ("sync", "fsid=1")),
    )


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (
            'exportfs: /etc/exports.d/portal-stt.exports:1: unknown keyword "rwx"\n\n',
            [Complaint('unknown keyword "rwx"', "/etc/exports.d/portal-stt.exports", 1)],
        ),
        (
            'exportfs: /etc/exports.d/a.exports: 1: bad anonuid "anonuid=x"\n\n',
            [Complaint('bad anonuid "anonuid=x"', "/etc/exports.d/a.exports", 1)],
        ),
        (
            "exportfs: /etc/exports.d/a.exports [1]: Neither 'subtree_check' or 'no_subtree_check' specified for "
            "export \"10.0.0.0/24:/srv\".\n  Assuming default behaviour ('no_subtree_check').\n"
            "  NOTE: this default has changed since nfs-utils version 1.0.x\n\n",
            [
                Complaint(
                    "Neither 'subtree_check' or 'no_subtree_check' specified for export \"10.0.0.0/24:/srv\". Assuming "
                    "default behaviour ('no_subtree_check'). NOTE: this default has changed since nfs-utils version "
                    "1.0.x",
                    "/etc/exports.d/a.exports",
                    1,
                )
            ],
        ),
        (
            "exportfs: Invalid prefix `33' for 10.0.0.0/33\nexportfs: Invalid prefix `33' for 10.0.0.0/33\n",
            [Complaint("Invalid prefix `33' for 10.0.0.0/33")],
        ),
        (
            "exportfs: incompatible duplicated export entries:\n"
            "exportfs: \t10.0.0.0/24:/srv (0x425) [IGNORED]\nexportfs: \t10.0.0.0/24:/srv (0x424)\n",
            [
                Complaint(
                    "incompatible duplicated export entries: 10.0.0.0/24:/srv (0x425) [IGNORED] 10.0.0.0/24:/srv "
                    "(0x424)"
                )
            ],
        ),
        ("", []),
    ],
)
def test_the_parsers_words_are_kept(stderr: str, expected: list[Complaint]) -> None:
    assert list(complaints(stderr)) == expected


FILE = """# the house
/srv/nfs-ssd *(rw,fsid=1) # all of it

"/srv/with blank" 10.0.0.1(ro) \\
   10.0.0.2(ro)
/srv/\\043x -ro,sync node-1.lan @ng(rw)
/srv/typo 10.0.0.0/24 (rw)
"""


def test_export_files_are_read_with_their_lines() -> None:
    assert list(statements("/etc/exports", FILE)) == [
        Statement("/etc/exports", 2, 1, "/srv/nfs-ssd", ("*(rw,fsid=1)",)),
        Statement("/etc/exports", 4, 2, "/srv/with blank", ("10.0.0.1(ro)", "10.0.0.2(ro)")),
        Statement("/etc/exports", 6, 4, "/srv/#x", ("-ro,sync", "node-1.lan", "@ng(rw)")),
        Statement("/etc/exports", 7, 5, "/srv/typo", ("10.0.0.0/24", "(rw)")),
    ]


@pytest.mark.parametrize(("counted", "line"), [(1, 2), (2, 4), (3, 5), (4, 6), (5, 7)])
def test_a_line_is_the_one_an_editor_shows(counted: int, line: int) -> None:
    """exportfs leaves out comments when it counts (nfs-utils 2.6.2 and 2.8.3, support/nfs/xio.c)."""
    assert line_in("/etc/exports", counted, list(statements("/etc/exports", FILE))) == line


def test_entries_are_found_in_the_files() -> None:
    known = list(statements("/etc/exports", FILE))
    assert locate(PARENT, known, Names()) == "/etc/exports line 2"
    assert locate(Entry("/srv/typo", "*", ()), known, Names()) == "/etc/exports line 7"
    assert locate(OURS, known, Names()) == "the table alone (exported by hand)"
    assert host_names(known) == {"node-1.lan"}


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("*", "192.168.1.0/24", True),
        ("192.168.0.0/16", "192.168.1.0/24", True),
        ("192.168.1.0/24", "192.168.0.0/16", False),
        ("192.168.1.0/24", "192.168.1.7", True),
        ("10.0.0.0/255.0.0.0", "10.1.0.0/16", True),
        ("2001:db8::/32", "192.168.1.0/24", False),
        ("*.lan", "node-1.lan", None),
        ("node-1.lan", "node-1.lan", True),
        ("@nodes", "192.168.1.7", None),
        ("nas", "nas.example.lan", True),
        ("store.example.lan", "192.168.1.36", True),
        ("192.168.1.0/24", "nas", True),
        ("10.0.0.0/8", "nas", False),
        ("192.168.1.0/24", "both.example.lan", False),
        ("nas", "192.168.1.0/24", False),
    ],
)
def test_covering_clients(outer: str, inner: str, expected: bool | None) -> None:
    assert LAN.covers(outer, inner) is expected


@pytest.mark.parametrize(
    ("clients", "same"),
    [
        (("nas", "NAS", "nas.example.lan", "store.example.lan", "192.168.1.36"), True),
        (("both.example.lan", "10.9.9.9", "192.168.1.50"), True),
        (("10.0.0.0/8", "10.0.0.0/255.0.0.0"), True),
        (("*.lan", "*.example.lan"), False),
        (("nas", "other.example.lan"), False),
        (("unknown.lan", "Unknown.LAN"), True),
        (("192.168.1.36", "192.168.1.0/24"), False),
        (("@nodes", "@NODES"), False),
    ],
)
def test_what_clients_mean(clients: tuple[str, ...], same: bool) -> None:
    assert (len({LAN.meant(client) for client in clients}) == 1) is same


def test_a_table_is_compared_by_what_it_means() -> None:
    """The live server lists the canonical name, a file may use another one, or the address."""
    live, declared = (
        LAN.table((Entry("/srv/photos", client, ("ro",)),)) for client in ("nas.example.lan", "store.example.lan")
    )
    assert difference(live, declared) == difference(live, live)
    assert str(live[0]) == "/srv/photos nas.example.lan(ro)"
    known = tuple(statements("/etc/exports", "/srv/photos nas(ro)\n"))
    assert locate(live[0], known, LAN) == "/etc/exports line 1"
    (changed,) = difference(live, LAN.table((Entry("/srv/photos", "192.168.1.36", ("rw",)),))).changed
    assert [str(entry) for entry in changed] == ["/srv/photos nas.example.lan(ro)", "/srv/photos 192.168.1.36(rw)"]


def test_two_entries_that_mean_the_same_client_do_not_hide_each_other() -> None:
    twice = LAN.table((Entry("/srv/a", "10.0.0.0/8", ("ro",)), Entry("/srv/a", "10.0.0.0/255.0.0.0", ("rw",))))
    assert difference(twice, LAN.table((Entry("/srv/a", "10.0.0.0/8", ("rw",)),))).lines == (
        "changed: /srv/a 10.0.0.0/8(ro) becomes /srv/a 10.0.0.0/8(rw)",
    )


def test_the_resolvers_answers_as_lines_of_a_hosts_file() -> None:
    assert LAN.lines.splitlines() == [
        "192.168.1.50 both.example.lan",
        "10.9.9.9 both.example.lan",
        "192.168.1.36 nas.example.lan nas",
        "192.168.1.36 nas.example.lan store.example.lan",
    ]


def test_the_resolver_is_asked_for_canonical_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(name: str, *_: object, **asked: int) -> list[tuple[object, ...]]:
        assert asked["flags"] == socket.AI_CANONNAME
        if name == "silent.lan":
            threading.Event().wait(20)
        if name == "unknown.lan":
            raise socket.gaierror("Name or service not known")
        canonical = "evil 10.0.0.1\n10.0.0.2 nas" if name == "hostile.lan" else f"{name}.example.lan"
        return [(2, 1, 6, canonical, ("192.168.1.36", 0)), (10, 1, 6, "", ("fe80::1%eth0", 0, 0, 2))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    asked = resolve(["nas", "silent.lan", "unknown.lan", "hostile.lan"], seconds=0.5)
    addresses = ("192.168.1.36", "fe80::1")
    assert asked.hosts == {"nas": Host("nas.example.lan", addresses), "hostile.lan": Host("hostile.lan", addresses)}
    assert asked.unresolved == ("silent.lan", "unknown.lan")


@pytest.mark.parametrize(
    ("name", "text", "mistyped"),
    [
        ("zfs.exports.lock", "", False),
        ("zfs.exports.lock", "/srv/a *(ro)\n", False),
        ("photos.exports.bak", "/srv/a *(ro)\n", False),
        ("photos.exports~", "/srv/a *(ro)\n", False),
        ("photos.exports.dpkg-old", "/srv/a *(ro)\n", False),
        ("photos.disabled", "/srv/a *(ro)\n", False),
        ("README", "Files here are read by exportfs.\n", False),
        ("photos.export", "# ours\n", False),
        ("photos.export", "/srv/a *(ro)\n", True),
        ("photos", "/srv/a 10.0.0.1(ro)\n", True),
        ("photos.conf", '"/srv/a b" 10.0.0.1(ro)\n', True),
    ],
)
def test_a_file_that_exportfs_passes_over(name: str, text: str, mistyped: bool) -> None:
    assert is_mistyped(name, text) is mistyped


def test_a_difference_names_what_clients_would_notice() -> None:
    hand = Entry("/srv/hand", "10.0.0.1", ("ro",))
    narrowed = replace(PARENT, options=("ro",))
    found = difference((PARENT, hand, OURS), (narrowed,), own={OURS.key})
    assert found.lines == (
        "lost: /srv/hand 10.0.0.1(ro)",
        "changed: /srv/nfs-ssd *(sync,fsid=1,sec=sys,rw,insecure,no_root_squash) becomes /srv/nfs-ssd *(ro)",
    )
    assert difference((PARENT,), (PARENT, hand)).added == (hand,)
    assert not difference((PARENT,), (PARENT, hand)).harms


# --- the judgement of a host ---

HOST = HostFacts(
    is_root=True,
    missing_tools=(),
    threads=8,
    versions=("-3", "+4", "+4.1", "+4.2"),
    answering=True,
    state="/var/lib/nfs",
    state_free=2**30,
    table=(PARENT,),
    known=tuple(
        statements("/etc/exports", "/srv/nfs-ssd *(rw,sync,no_subtree_check,no_root_squash,insecure,fsid=1)\n")
    ),
    ignored=(),
    unreadable=(),
    immutable=(),
    mounts=frozenset({"/", "/srv/nfs-ssd"}),
    names=Names(),
)
JUDGE = Judge(export(), SUBJECT)
IDLE = replace(JUDGE, changes_table=False)


def parsed(*table: Entry, rc: int = 0, says: str = "") -> Parsed:
    return Parsed(rc, tuple(sorted(table, key=lambda entry: entry.key)), complaints(says))


def trial(alone: Parsed | None = None, together: Parsed | None = None, without: Parsed | None = None) -> Trial:
    alone = alone or parsed(OURS)
    return Trial(
        alone,
        together or parsed(PARENT, *alone.table),
        without or parsed(PARENT),
        frozenset(entry.key for entry in alone.table),
    )


MISSING = "exportfs: Failed to stat /srv/nfs-ssd/portal-stt: No such file or directory\n"
HAND = Entry("/srv/hand", "10.0.0.1", ("ro",))
WOULD_NOT_SURVIVE = (
    "nfs.others: 1 export of others would not survive `exportfs -ra`, whoever runs it: the files do not "
    "declare what is "
    "served now. Declare what was exported by hand in a file of its own in /etc/exports.d, or correct the broken file; "
    "when the loss is meant, run `exportfs -ra` yourself first."
)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda: JUDGE.server(HOST, pending=False), ["ok nfs.server: The NFS server runs with 8 threads and NFSv4."]),
        (
            lambda: JUDGE.server(replace(HOST, is_root=False), pending=False),
            [
                "refused nfs.privileges: The module does not run as root. Use become: true.",
                "ok nfs.server: The NFS server runs with 8 threads and NFSv4.",
            ],
        ),
        (
            lambda: JUDGE.server(replace(HOST, missing_tools=("exportfs", "nfsconf")), pending=False),
            [
                "refused nfs.server: No NFS server is installed: there is no exportfs. "
                "Install the package nfs-kernel-server, or let [install_server] do it."
            ],
        ),
        (
            lambda: JUDGE.server(replace(HOST, missing_tools=("exportfs", "nfsconf")), pending=True),
            [
                "warning nfs.server: No NFS server is installed: there is no exportfs. "
                "Install the package nfs-kernel-server, or let [install_server] do it."
            ],
        ),
        (
            lambda: JUDGE.server(replace(HOST, missing_tools=("unshare",)), pending=False),
            [
                "refused nfs.tools: The export cannot be tried out beforehand without: unshare. "
                "Install the packages util-linux, mount and nfs-common.",
                "ok nfs.server: The NFS server runs with 8 threads and NFSv4.",
            ],
        ),
        (
            lambda: JUDGE.server(replace(HOST, threads=0), pending=False),
            [
                "refused nfs.server: The NFS server does not run. Start it with `systemctl start nfs-server`; "
                "when that fails, `journalctl -u nfs-server` says why."
            ],
        ),
        (
            lambda: IDLE.server(replace(HOST, answering=False), pending=False),
            [
                "warning nfs.server: rpc.mountd, which tells the kernel who may mount, does not run. Start it with "
                "`systemctl start nfs-server`; when that fails, `journalctl -u nfs-server` says why."
            ],
        ),
        (
            lambda: JUDGE.server(replace(HOST, versions=("+3", "-4")), pending=False),
            [
                "refused nfs.v4: The NFS server does not offer NFSv4, which the volume is mounted with: +3 -4. "
                "Set vers4=y in the section [nfsd] of /etc/nfs.conf; it applies when the server is next started."
            ],
        ),
        (lambda: JUDGE.disk(HOST, required=""), []),
        (lambda: JUDGE.disk(HOST, required="/srv/nfs-ssd"), ["ok nfs.mountpoint: /srv/nfs-ssd is mounted."]),
        (
            lambda: JUDGE.disk(HOST, required="/srv/disk"),
            [
                "refused nfs.mountpoint: /srv/disk is not a mountpoint: the disk is not mounted, and models would fill "
                "the root disk. Mount it (`mount /srv/disk`, and an entry in /etc/fstab), or name the right mountpoint."
            ],
        ),
        (lambda: JUDGE.space(3000, 1200, needed=4096), ["ok nfs.space: 3000 MiB are free."]),
        (
            lambda: JUDGE.space(3000, 10, needed=4096),
            [
                "refused nfs.space: 3000 MiB are free and 10 MiB lie below the path already; 4096 MiB are needed. "
                "Make room on the disk, or lower [min_free_mib] where less will do."
            ],
        ),
        (lambda: JUDGE.files(HOST), []),
        (
            lambda: JUDGE.files(
                replace(
                    HOST,
                    known=tuple(statements("/etc/exports", FILE)),
                    ignored=("/etc/exports.d/foo.conf",),
                    unreadable=("/etc/exports: Is a directory",),
                    immutable=("/etc/exports.d",),
                    state_free=20480,
                )
            ),
            [
                "warning nfs.others: /etc/exports line 7 has a blank before (rw): these options apply to every machine "
                "there is. Remove the blank, so that the options belong to the client before it.",
                "warning nfs.others: exportfs reads only files that end in .exports; what others in "
                "/etc/exports.d declare is not served. Rename them if they are meant to be read.",
                "warning nfs.others: An export file cannot be read, so all it declares ends with the next "
                "`exportfs -ra` or restart. Make the file readable before the server is restarted.",
                "refused nfs.file: The export file cannot be changed: an immutable flag is set. "
                "Ask who set it, then `chattr -i` it.",
                "refused nfs.state_space: /var/lib/nfs has 20 KiB left: exportfs would cut the table short and every "
                "export behind the cut would end. Make room on that disk first.",
            ],
        ),
        (lambda: JUDGE.candidate(HOST, trial(), coming=False), []),
        (
            lambda: JUDGE.candidate(
                HOST,
                trial(
                    alone=parsed(rc=1, says='exportfs: /etc/exports.d/portal-stt.exports:1: unknown keyword "rwx"\n')
                ),
                coming=True,
            ),
            [
                "refused nfs.candidate: The host's exportfs rejects /etc/exports.d/portal-stt.exports as it would be "
                "written; nothing was written. Correct the options or clients in the line that it names."
            ],
        ),
        (
            lambda: JUDGE.candidate(HOST, trial(alone=parsed(OURS, rc=1, says=MISSING)), coming=True),
            [],
        ),
        (
            lambda: JUDGE.candidate(HOST, trial(alone=parsed(OURS, rc=1, says=MISSING)), coming=False),
            [
                "refused nfs.candidate: The host's exportfs rejects /etc/exports.d/portal-stt.exports as it would be "
                "written; nothing was written. Name the directory in [directories], or correct the path."
            ],
        ),
        (
            lambda: JUDGE.candidate(HOST, trial(alone=parsed(OURS, says="exportfs: some remark\n")), coming=False),
            [
                "warning nfs.candidate: The host's exportfs remarks on /etc/exports.d/portal-stt.exports. "
                "Name the option that it misses."
            ],
        ),
        (
            lambda: Judge(export(host="node-9.lan"), SUBJECT).candidate(
                replace(HOST, names=Names({}, ("node-9.lan",))),
                trial(alone=parsed(says="exportfs: Failed to resolve node-9.lan\n")),
                coming=False,
            ),
            [
                "refused nfs.client: The host cannot resolve node-9.lan; exportfs would leave it out without a word. "
                "Correct the name, enter it in the DNS or in /etc/hosts of the NFS host, or use the address."
            ],
        ),
        (
            lambda: Judge(
                replace(export(), clients=(client_of("nas", SAFE), client_of("192.168.1.36", SAFE))), SUBJECT
            ).candidate(replace(HOST, names=LAN), trial(), coming=False),
            [
                "refused nfs.client: nas and 192.168.1.36 are the same machine, and exportfs keeps only one of the two "
                "entries. Keep one of them, with all its options."
            ],
        ),
        (lambda: JUDGE.rivals(HOST, trial()), []),
        (
            lambda: JUDGE.rivals(HOST, trial(without=parsed(PARENT, replace(OURS, options=("ro",))))),
            [
                "refused nfs.conflict: the table alone (exported by hand) already exports /srv/nfs-ssd/portal-stt to "
                "192.168.1.0/24; exportfs keeps only one of the two entries. Remove that entry, name other clients, or "
                "set [when_covered]: skip to use it as it is."
            ],
        ),
        (
            lambda: JUDGE.covered(HOST, JUDGE.covering(HOST, trial(), "fail"), "fail"),
            [
                "refused nfs.covered: /srv/nfs-ssd/portal-stt is already exported to the same clients, by "
                "/srv/nfs-ssd. Set [when_covered] to declare or skip when that is meant to be so."
            ],
        ),
        (
            lambda: JUDGE.covered(HOST, JUDGE.covering(HOST, trial(), "skip"), "skip"),
            [
                "warning nfs.covered: /srv/nfs-ssd/portal-stt is served by the export of /srv/nfs-ssd and by no entry "
                "of its own. It ends when that export ends; set [when_covered]: declare for an entry of its "
                "own."
            ],
        ),
        (
            lambda: JUDGE.covering(replace(HOST, mounts=frozenset({"/", OURS.path})), trial(), "skip"),
            [],
        ),
        (lambda: JUDGE.roots(HOST, trial()), []),
        (
            lambda: JUDGE.roots(HOST, trial(together=parsed(replace(PARENT, options=("fsid=0",)), OURS))),
            [
                "refused nfs.v4_root: /etc/exports line 1 exports /srv/nfs-ssd with fsid=0: to its NFSv4 clients that "
                "is the root, so /srv/nfs-ssd/portal-stt is mounted as /portal-stt; a mount by the full path fails "
                "with "
                "'No such file or directory'. Ask its owner to give it another number, as in fsid=1; NFSv4 clients "
                "then "
                "mount it by the full path."
            ],
        ),
        (
            lambda: JUDGE.roots(replace(HOST, table=(Entry("/export", "@ng", ("fsid=0",)),)), trial()),
            [
                "warning nfs.v4_root: the table alone (exported by hand) exports /export with fsid=0: to its NFSv4 "
                "clients that is the root, so /srv/nfs-ssd/portal-stt is out of reach; a mount by the full path fails "
                "with 'No such file or directory'. Ask its owner to give it another number, as in fsid=1; NFSv4 "
                "clients "
                "then mount it by the full path."
            ],
        ),
        (lambda: JUDGE.others(HOST, trial()), []),
        (lambda: JUDGE.others(replace(HOST, table=(PARENT, HAND)), trial()), [f"refused {WOULD_NOT_SURVIVE}"]),
        (lambda: IDLE.others(replace(HOST, table=(PARENT, HAND)), trial()), [f"warning {WOULD_NOT_SURVIVE}"]),
        (
            lambda: JUDGE.others(HOST, trial(without=parsed(PARENT, rc=1, says="exportfs: something\n"))),
            [
                "warning nfs.others: exportfs complains about files of others. Tell their owner; this export is not "
                "concerned."
            ],
        ),
        (
            lambda: JUDGE.others(HOST, trial(together=parsed(OURS))),
            [
                "refused nfs.others: With /etc/exports.d/portal-stt.exports in place, 1 export of others would change. "
                "Name other clients or another path."
            ],
        ),
        (
            lambda: JUDGE.others(HOST, trial(without=parsed(PARENT, HAND), together=parsed(PARENT, HAND, OURS))),
            [
                "warning nfs.others: 1 export of others, declared in a file and not served yet, will be served as "
                "well. "
                "Look whether they are meant: their files were edited without `exportfs -ra`."
            ],
        ),
    ],
)
def test_a_host_is_judged(look: Callable[[], Iterable[Finding]], expected: list[str]) -> None:
    found = list(look())
    assert [each if isinstance(each, Entry) else lines([each])[0] for each in found] == expected


def test_a_wrong_candidate_is_shown_with_its_line() -> None:
    says = 'exportfs: /etc/exports.d/portal-stt.exports:1: unknown keyword "rwx"\n'
    (found,) = Judge(export(options=["rwx"]), SUBJECT).candidate(
        HOST, trial(alone=parsed(rc=1, says=says)), coming=False
    )
    assert found.evidence == (
        '/etc/exports.d/portal-stt.exports line 1: exportfs says: unknown keyword "rwx" '
        "[/srv/nfs-ssd/portal-stt 192.168.1.0/24(rwx)]",
    )


def test_several_refusals_are_one_error_and_keep_their_findings() -> None:
    refused = [
        Finding("nfs.server", Status.REFUSED, SUBJECT, "It does not run.", "Start it."),
        Finding("nfs.space", Status.REFUSED, SUBJECT, "It is full.", "Make room.", ("3 MiB",)),
    ]
    error = ExportError.of(refused)
    assert str(error) == (
        f"{SUBJECT}: 2 findings refuse the export, and nothing was changed:\n"
        "  1. It does not run. Start it.\n"
        "  2. It is full. [3 MiB] Make room.\n"
        "Do what each says and run again."
    )
    assert error.finding == refused[0]
    assert str(ExportError.of(refused[:1])) == f"{SUBJECT}: It does not run. Start it."


# --- directories ---


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def mine(path: Path, mode: int = 0o755) -> Directory:
    return Directory(str(path), os.getuid(), os.getgid(), mode)


def test_directories_are_made_corrected_and_then_left_alone(share: Path) -> None:
    wanted = [mine(share / "a", 0o750), mine(share / "a/hub", 0o2775)]
    changes = directories.plan(wanted)
    assert [change.lines for change in changes] == [
        (f"{share}/a absent\n", f"{share}/a {os.getuid()}:{os.getgid()} 0750\n"),
        (f"{share}/a/hub absent\n", f"{share}/a/hub {os.getuid()}:{os.getgid()} 2775\n"),
    ]
    directories.apply(changes)
    assert directories.plan(wanted) == []
    (share / "a").chmod(0o700)
    (correction,) = directories.plan(wanted)
    directories.apply([correction])
    assert oct((share / "a").stat().st_mode & 0o7777) == "0o750"
    directories.undo([correction])
    assert oct((share / "a").stat().st_mode & 0o7777) == "0o700", "as it was before"


def test_a_change_that_fails_on_its_way_leaves_the_directories_as_they_were(share: Path) -> None:
    (share / "a").mkdir(0o700)
    changes = directories.plan([mine(share / "a", 0o755), mine(share / "a/hub"), mine(share / "a/hub/b")])
    (share / "a/hub").symlink_to("/etc")  # planted between the look and the change
    with pytest.raises(ExportError, match=r"is a file|is a symlink|File exists"):
        directories.apply(changes)
    assert oct((share / "a").stat().st_mode & 0o7777) == "0o700"
    assert (share / "a/hub").is_symlink()


def test_an_acl_that_is_inherited_stays(share: Path) -> None:
    tags = ((0x01, 7, 2**32 - 1), (0x02, 7, 4242), (0x04, 5, 2**32 - 1), (0x10, 7, 2**32 - 1), (0x20, 0, 2**32 - 1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *tag) for tag in tags)
    try:
        os.setxattr(share, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"no ACLs in {share}: {error.strerror}")
    wanted = [mine(share / "a", 0o755)]
    directories.apply(directories.plan(wanted))
    assert oct((share / "a").stat().st_mode & 0o777) == "0o750", "others get no more than the default ACL gives"
    assert directories.plan(wanted) == []


def test_a_symlink_is_never_followed(share: Path) -> None:
    (share / "a").symlink_to("/etc")
    with pytest.raises(ExportError) as caught:
        directories.plan([mine(share / "a/hub")])
    assert str(caught.value) == (
        f"{share}/a: {share}/a is a symlink to /etc; a symlink is never followed, it could lead out of the share. "
        "Name the directory itself, or replace the symlink with a directory."
    )


def test_a_missing_parent_and_a_file_in_the_way_are_told(share: Path) -> None:
    with pytest.raises(ExportError) as missing:
        directories.plan([mine(share / "a/b/c")])
    assert str(missing.value) == (
        f"{share}/a: The directory {share}/a does not exist, so {share}/a/b cannot be entered. "
        "Make it, or mount the disk that holds it, or correct the path."
    )
    (share / "f").touch()
    with pytest.raises(ExportError) as file:
        directories.plan([mine(share / "f")])
    assert str(file.value) == (
        f"{share}/f: {share}/f is a file where a directory is expected. Move it away, or correct the path."
    )


# --- the change and its way back ---


class Server:
    """An exportfs that serves whatever its function makes of the file."""

    def __init__(self, file: Path, serves: Callable[[str], tuple[int, str, str]]) -> None:
        self.file, self.serves, self.table = file, serves, PARENT_LINE
        self.calls: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str], stdin: str) -> Completed:
        self.calls.append(argv)
        if argv == ["exportfs", "-ra"]:
            rc, self.table, err = self.serves(self.file.read_text() if self.file.exists() else "")
            return Completed(rc, "", err)
        return Completed(0, self.table, "")


PARENT_LINE = "/srv/nfs-ssd  *(sync,fsid=1)\n"
OUR_LINE = "/srv/nfs-ssd/portal-stt  10.0.0.0/8(rw)\n"
BEFORE = parse_table(PARENT_LINE)
EXPECTED = parse_table(OUR_LINE)


@pytest.fixture
def exports_d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "exports.d"
    monkeypatch.setattr(publishing, "EXPORTS_D", str(folder))
    return folder


def publish(server: Server, text: str | None) -> object:
    return publishing.publish(
        server,
        str(server.file),
        text,
        before=BEFORE,
        expected=EXPECTED if text else (),
        own={EXPECTED[0].key},
        names=Names(),
    )


def test_a_file_is_published_and_withdrawn(exports_d: Path) -> None:
    server = Server(exports_d / "a.exports", lambda text: (0, PARENT_LINE + (OUR_LINE if text else ""), ""))
    assert publish(server, "ours\n") == (*BEFORE, *EXPECTED)
    assert sorted(file.name for file in exports_d.iterdir()) == ["a.exports"]
    assert publish(server, None) == BEFORE
    assert list(exports_d.iterdir()) == []


@pytest.mark.parametrize(
    ("serves", "evidence"),
    [
        (
            lambda text: (0, OUR_LINE if text else PARENT_LINE, ""),
            ("lost: /srv/nfs-ssd *(sync,fsid=1)",),
        ),
        (
            lambda text: (0, PARENT_LINE, ""),
            ("not served as intended: /srv/nfs-ssd/portal-stt 10.0.0.0/8(rw)",),
        ),
        (
            lambda text: (
                (1, PARENT_LINE + OUR_LINE, "exportfs: /srv/nfs-ssd/portal-stt requires fsid= for NFS export\n")
                if text
                else (0, PARENT_LINE, "")
            ),
            ("exportfs says: /srv/nfs-ssd/portal-stt requires fsid= for NFS export",),
        ),
    ],
)
@pytest.mark.parametrize("previous", [None, "earlier\n"])
def test_a_change_that_goes_wrong_is_undone(
    exports_d: Path, serves: Callable[[str], tuple[int, str, str]], evidence: tuple[str, ...], previous: str | None
) -> None:
    def all_serves(text: str) -> tuple[int, str, str]:
        return (0, PARENT_LINE, "") if text == previous else serves(text)

    server = Server(exports_d / "a.exports", all_serves)
    if previous:
        exports_d.mkdir()
        server.file.write_text(previous)
    with pytest.raises(ExportError) as caught:
        publish(server, "ours\n")
    assert caught.value.message == (
        "The kernel's table was not as intended with this file; its previous content is back and served as before."
    )
    assert caught.value.evidence == evidence
    assert publishing.read(str(server.file)) == previous
    assert exports_d.exists() == bool(previous)
    assert server.calls.count(["exportfs", "-ra"]) == 2
    assert not publishing.was_interrupted(str(server.file))


def test_a_way_back_that_fails_is_told_and_keeps_the_journal(exports_d: Path) -> None:
    server = Server(exports_d / "a.exports", lambda text: (1, "", "exportfs: no space\n"))
    with pytest.raises(ExportError) as caught:
        publish(server, "ours\n")
    assert str(caught.value).splitlines()[1:] == [
        "  lost: /srv/nfs-ssd *(sync,fsid=1)",
        "  exportfs says: no space",
        "  lost: /srv/nfs-ssd *(sync,fsid=1)",
        "  not served as intended: /srv/nfs-ssd/portal-stt 10.0.0.0/8(rw)",
        "Run `exportfs -ra` on the host and compare `exportfs -s`.",
    ]
    assert publishing.was_interrupted(str(server.file))


@pytest.mark.parametrize("stays", [False, True])
def test_a_table_that_cannot_be_read_any_more_is_undone(exports_d: Path, stays: bool) -> None:
    server = Server(exports_d / "a.exports", lambda text: (0, PARENT_LINE, ""))

    def run(argv: Sequence[str], stdin: str) -> Completed:
        if argv == ["exportfs", "-s"] and (server.file.exists() or stays):
            return Completed(1, "", "exportfs: /var/lib/nfs/etab line 1: syntax error\n")
        return server(argv, stdin)

    with pytest.raises(ExportError) as caught:
        publishing.publish(
            run, str(server.file), "ours\n", before=BEFORE, expected=EXPECTED, own={EXPECTED[0].key}, names=Names()
        )
    assert ("cannot be seen" in caught.value.message) is stays
    assert "exportfs: /var/lib/nfs/etab line 1: syntax error" in caught.value.evidence
    assert publishing.read(str(server.file)) is None
    assert publishing.was_interrupted(str(server.file)) is stays, "the journal stays for the next run"


def test_after_a_killed_run_the_content_before_it_is_what_comes_back(exports_d: Path) -> None:
    exports_d.mkdir()
    server = Server(exports_d / "a.exports", lambda text: (0, PARENT_LINE, ""))
    server.file.write_text("ours\n")  # written by the run that was killed
    Path(publishing.journal_of(str(server.file))).write_text("earlier\n")
    assert publishing.was_interrupted(str(server.file))
    with pytest.raises(ExportError):
        publish(server, "ours\n")
    assert server.file.read_text() == "earlier\n"


def test_a_second_run_waits_and_gives_up_with_words(tmp_path: Path) -> None:
    waited: list[float] = []
    with (
        publishing.one_at_a_time(str(tmp_path)),
        pytest.raises(ExportError) as caught,
        publishing.one_at_a_time(str(tmp_path), patience=1, sleep=waited.append),
    ):
        pass
    assert waited == [0.2] * 5
    assert str(caught.value) == (
        f"{tmp_path}: Another run has been changing the exports for 1 seconds. "
        "Wait until it has ended, then run again; nothing was changed."
    )
