# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Takes apart what a component said of a failure: who said it, what about, and the innermost error.

What reaches the API server has passed many hands: kubelet, CRI, gRPC, containerd or CRI-O, runc, a hook; kubelet,
systemd-run, mount, mount.nfs; a CSI driver that wraps another one's words. Each puts its own in front, and some put
theirs behind: containerd appends the kind of its error (``: not found``), `mount` a general line after that of its
helper. So a word says nothing by being there. `take_apart` sets aside names (images, addresses, paths), whose letters
are no error, and the frames of gRPC, and finds the innermost error of one vocabulary that serves all stages and
dialects. Where a text holds several, the more particular one is the cause of the more general one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

MOST = 4096
"""Of a longer text, so many characters at its two ends are looked at together."""

SHOWN = 600


class Actor(StrEnum):
    """Who failed at it, as far as the words tell: the innermost one."""

    NVIDIA = "NVIDIA's container toolkit"
    STATD = "rpc.statd"
    NFS = "mount.nfs"
    CSI = "a CSI driver"
    CNI = "the network plugin"
    WEBHOOK = "a webhook"
    RUNC = "the low-level runtime"
    DOCKER = "docker"
    RUNTIME = "the container runtime"
    KUBELET = "the kubelet"
    NOBODY = ""


class Error(StrEnum):
    """The innermost error, from the most particular to the most general."""

    EXPIRED = "a certificate is not valid at this time"
    WRONG_NAME = "a certificate is for another name"
    PLAIN_HTTP = "HTTP where HTTPS is expected"
    UNTRUSTED = "a certificate's authority is not trusted"
    WRONG_CONTENT = "another content than expected"
    RATE_LIMITED = "too many requests"
    NO_SPACE = "no space left"
    DAMAGED = "the disk cannot be read or written"
    PLATFORM = "made for another processor or system"
    INCOMPLETE = "the node's own store lacks parts"
    STALE = "a handle that is no longer valid"
    UNREACHABLE = "the other side does not answer"
    TLS = "no TLS session"
    DENIED = "not authorised"
    UNSUPPORTED = "not supported"
    BUSY = "in use"
    READ_ONLY = "read-only"
    NOT_PERMITTED = "permission denied"
    MISSING = "not there"
    TIMED_OUT = "not in time"
    NONE = ""


_VOCABULARY: tuple[tuple[Error, str], ...] = (
    (
        Error.EXPIRED,
        r"certificate has expired|certificate is not yet valid|expired certificate|certificate expired|"
        r"CERT_HAS_EXPIRED|certificate will be valid|not yet valid",
    ),
    (
        Error.WRONG_NAME,
        r"certificate is valid for|cannot validate certificate for|is not valid for any names|"
        r"certificate is not valid for|legacy Common Name|hostname mismatch|Hostname/IP does not match|"
        r"doesn't match either of|certificate subject name",
    ),
    (
        Error.PLAIN_HTTP,
        r"server gave HTTP response to HTTPS client|does not look like a TLS handshake|wrong version number|"
        r"plain HTTP request was sent to HTTPS port",
    ),
    (
        Error.UNTRUSTED,
        r"unknown authority|unable to get local issuer|self[- ]signed|CERTIFICATE_VERIFY_FAILED|unknown CA\b|"
        r"certificate is not trusted|failed to verify certificate|certificate verify failed|x509: |"
        r"unable to verify the first certificate|bad certificate",
    ),
    (
        Error.RATE_LIMITED,
        r"(?<![:.\d/-])429\b|toomanyrequests|too many requests|rate[- ]limit|(?:pull |registry )?QPS exceeded|"
        r"rate exceeded|throttl",
    ),
    (
        Error.WRONG_CONTENT,
        r"media ?type \"?text/|text/html|invalid character '?[<\w]'? looking for|invalid JSON|"
        r"<!doctype|<html|unexpected content type|failed to decode (?:manifest|index)|error parsing "
        r"HTTP 2\d\d response",
    ),
    (
        Error.NO_SPACE,
        r"no space left|\bENOSPC\b|not enough (?:free )?(?:disk )?space|disk quota exceeded|\bEDQUOT\b|"
        r"insufficient disk space|disk is full|DiskPressure|out of disk",
    ),
    (Error.DAMAGED, r"input/output error|\bEIO\b|structure needs cleaning|bad message\b|I/O error, dev"),
    (
        Error.PLATFORM,
        r"exec(?:ute)? format error|\bENOEXEC\b|no match(?:ing manifest)? for (?:platform|\S+ in the manifest)|"
        r"no matching manifest for|no (?:image|manifest|child with "
        r"platform)\b.{0,80}\b(?:architecture|variant|platform)\b|"
        r"cannot be used on this platform|does not match the (?:specified|detected host) platform|"
        r"requested image'?s platform|no child with platform|wrong ELF class|architecture .{1,40} OS",
    ),
    (
        Error.INCOMPLETE,
        r"parent snapshot|snapshot \S+ does not exist|content (?:digest )?\S+:? not found|layer not known|"
        r"content store|missing parent|unexpected commit digest|layers from manifest don't match|"
        r"failed to get reader|identifier is not a(?:n image| layer)|locating (?:item|image with ID)|"
        r"mismatched image rootfs|missing content|blob not found in|failed size validation|"
        r"unable to find (?:layer|blob)",
    ),
    (
        Error.STALE,
        r"stale (?:NFS )?file handle|\bESTALE\b|transport endpoint is not connected|\bENOTCONN\b",
    ),
    (
        Error.UNREACHABLE,
        r"connection refused|no such host|host not found|i/o timeout|no route to host|unreachable|"
        r"handshake timeout|\bEOF\b|"
        r"misbehaving|connection reset|reset by peer|broken pipe|host is down|failed to resolve server|"
        r"failed to resolve ['\"<]|name or service not known|temporary failure in name resolution|"
        r"name resolution|lookup \S+(?: on \S+)?: |dial (?:tcp|unix|udp)\S*|proxyconnect|server misbehaving|"
        r"status(?: code)?:? ?(?:\[[^]]{0,80}\]: )?5\d\d|\b5\d\d (?:internal|bad gateway|server error|service|gateway)|"
        r"bad gateway|service (?:temporarily )?unavailable|gateway time-?out|Client\.Timeout|max retries exceeded|"
        r"connection timed out|connect(?:ion)? time-?out|read timed out|ConnectTimeout|ReadTimeout|ConnectionError|"
        r"RemoteDisconnected|connection aborted|network is down|couldn't connect|could not connect|"
        r"failed to establish a new connection|no address associated|nodename nor servname|server closed|"
        r"connection (?:was )?closed|client connection lost|timeout awaiting response headers|"
        r"no endpoints available|all connection attempts failed|connect error|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|"
        r"ENOTFOUND|EAI_AGAIN|\(?407\)? proxy|proxy authentication|RPC: Program not registered|"
        r"(?:head|get) \"?<\d+>\"?: forbidden\W*$|"  # a proxy's answer to CONNECT: a registry's has its number
        r"portmap query failed|RPC: Timed out|Remote system error|mount\S*: .{0,200}timed out",
    ),
    (Error.TLS, r"\btls: |remote error: |SSLError|SSL: |certificate|handshake failure"),
    (
        Error.DENIED,
        r"(?<![:.\d/-])40[13]\b|unauthorized|unauthenticated|authorization (?:failed|header)|access denied|"
        r"access (?:to|of) .{1,80}denied|(?<!permission )denied:|: denied|insufficient_scope|no basic auth credentials|"
        r"no pull access|authentication (?:is )?required|not authorized|not authorised|AuthorizationFailed|"
        r"invalid username|incorrect username|may require|PermissionDenied|forbidden|credentials? "
        r".{0,60}(?:expired|invalid)|"
        r"token (?:has |is )?(?:expired|invalid)|access forbidden|Unauthenticated|login attempt .{0,80}failed|"
        r"unable to retrieve auth token",
    ),
    (
        Error.UNSUPPORTED,
        r"not supported|no longer supported|unsupported|invalid argument|\bEINVAL\b|incorrect mount option|"
        r"requested NFS version|does not support|bad option|wrong fs type|unknown filesystem|no such device|"
        r"not implemented|unknown (?:or invalid )?runtime|no runtime for|unknown runtime handler|"
        r"not configured|deprecated|invalid tar header",
    ),
    (
        Error.BUSY,
        r"resource busy|\bEBUSY\b|is reserved|already in use|address already in use|in use by|text file busy|"
        r"already (?:mounted|exists|used|attached|exclusively)|file exists|resource temporarily unavailable|"
        r"another .{1,60}(?:in progress|already running)|operation .{0,80}already exists|target is busy",
    ),
    (Error.READ_ONLY, r"read-only file ?system|\bEROFS\b"),
    (
        Error.NOT_PERMITTED,
        r"permission denied|operation not permitted|\bEACCES\b|\bEPERM\b|PermissionError|not "
        r"writable|trying to write|writable directory",
    ),
    (
        Error.MISSING,
        r"no such file or directory|\bENOENT\b|not found|manifest unknown|name unknown|not known to registry|"
        r"does not exist|doesn't exist|no such image|no such manifest|no such process|non-existent|couldn't find|"
        r"cannot find|could not find|can't be found|failed to find|FileNotFoundError|\b404\b|"
        r"MANIFEST_UNKNOWN|NAME_UNKNOWN|"
        r"is not a directory|not a directory",
    ),
    (
        Error.TIMED_OUT,
        r"deadline exceeded|timed? ?out|context cancell?ed|timeout expired|time-out|not within|in "
        r"time\b|DeadlineExceeded",
    ),
)
_ERRORS = tuple((error, re.compile(pattern, re.IGNORECASE)) for error, pattern in _VOCABULARY)

_ACTORS = tuple(
    (actor, re.compile(pattern, re.IGNORECASE))
    for actor, pattern in (
        (
            Actor.NVIDIA,
            r"nvidia-container-(?:cli|runtime|toolkit)|\bNVML\b|\bCDI\b|libnvidia-ml|could not select device driver|"
            r"(?<![\w-])/(?:dev|run|var/run|proc/driver)/nvidia|/driver/nvidia|nvidia-ctk|legacy nvidia|nvidia driver|"
            r"nvidia hook|libcuda\.so",
        ),
        (Actor.STATD, r"rpc\.statd|statd is not running|start statd|start-statd"),
        (
            Actor.NFS,
            r"mount\.nfs|-t nfs4?\b|type nfs4?\b|kubernetes\.io[~/]nfs|\bnfs\.csi\.k8s\.io|NFS (?:server|V?\d)|nfs4?://",
        ),
        (
            Actor.CNI,
            r"\bCNI\b|network plugin|networkPlugin|setup network for sandbox|failed to set ?up "
            r"(?:pod )?network|netplugin|loopback|IPAM|failed to find plugin",
        ),
        (Actor.WEBHOOK, r"\bwebhook\b"),
        (Actor.RUNC, r"OCI runtime|\brunc\b|\bcrun\b|\brunsc\b|\bkata|shim task|container_linux\.go|create shim"),
        (Actor.DOCKER, r"response from daemon|dockershim|cri-dockerd"),
        (
            Actor.CSI,
            r"\bCSI\b|csi\.|kubernetes\.io~csi|MountDevice failed .{0,80}rpc error|NodeStage|"
            r"NodePublish|AttachVolume\.Attach failed .{0,80}rpc error",
        ),
        (Actor.RUNTIME, r"containerd|cri-o|snapshotter|rpc error"),
    )
)

_CUT = " … "
_URL = re.compile(r"\b[a-z]{2,12}://[^\s\"'<>\\,)\]}]{1,1000}", re.IGNORECASE)
_QUOTED = re.compile(r"\"([^\"\s]{1,400})\"|\u2018([^\u2019\s]{1,400})\u2019|`([^`\s]{1,200})`")
_PATH = re.compile(r"(?<![\w/.~-])(?:~|\.{1,2})?/[^\s\"'`,;()\[\]{}<>|]{1,600}")
_GRPC = re.compile(r"rpc error: code = (\w+) desc = ?")
_KLOG = re.compile(r"time=\S{1,40} level=\w+ msg=")
_WRAPPED = re.compile(r"^(?:[\w ]{1,60}: )?\{\s*\"message\"\s*:\s*\"(.*)\"\s*\}$", re.DOTALL)
_PARTS = re.compile(r":\s+|\n+|\s*(?:\(Caused by\s)")
_APPENDED = re.compile(
    r": (?:not found|unknown|already exists|unavailable|failed precondition|not implemented|unauthenticated|"
    r"out of range|aborted|internal)\W*$",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:[\w ]{0,60}\s)?<?[\w./:@+-]+>?$")


@dataclass(frozen=True)
class Said:
    """What a component said.

    text: in one line, as it is shown. plain: with a mark in place of each name. error: the innermost of `Error`.
    actor: the innermost of `Actor`. names: what was set aside, in its order: addresses, paths, quoted names.
    layers: from the outermost to the innermost, of `plain`.
    """

    text: str
    plain: str
    error: Error
    actor: Actor
    names: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The end of it, for a sentence: its last 200 characters, from the beginning of a layer."""
        text = self.text.rstrip(" .")
        short = text[-200:]
        return short if short == text else "… " + (short.partition(": ")[2] or short)

    @property
    def innermost(self) -> str:
        """The last layer that has words."""
        return next((one for one in reversed(self.layers) if one.strip(" .")), "")

    def has(self, *errors: Error) -> bool:
        return self.error in errors

    def about(self, *parts: str) -> bool:
        """Whether one of the names has such a part."""
        return any(part in name for name in self.names for part in parts)


def bounded(text: str, most: int = MOST) -> str:
    """A text that is not too long to be looked at: its beginning and its end."""
    return text if len(text) <= most else text[: most // 2] + _CUT + text[-(most // 2) :]


def one_line(message: str, most: int = SHOWN) -> str:
    """A message without line breaks, and not too long; what is left out is its middle: the cause is at the end."""
    return bounded(" ".join(bounded(message).split()), most)


@lru_cache(maxsize=512)
def take_apart(message: str, nameless: tuple[str, ...] = ()) -> Said:
    """The parts of what was said. nameless: further names that stand in it without quotes (the image)."""
    text = _unwrapped(bounded(message))
    names: list[str] = []

    def aside(match: re.Match[str]) -> str:
        name = next((group for group in match.groups() if group), match[0])
        kept = name.rstrip(":.,")
        names.append(kept)
        return f"<{len(names)}>{name[len(kept) :]}"

    plain = _GRPC.sub("", _KLOG.sub("", text))
    plain = _URL.sub(aside, plain)
    plain = _QUOTED.sub(aside, plain)
    plain = _PATH.sub(aside, plain)
    for name in nameless:
        plain = plain.replace(name, "<image>") if len(name) > 1 else plain
    layers = tuple(" ".join(part.split()) for part in _PARTS.split(plain) if part.strip())
    return Said(one_line(text), " ".join(plain.split()), _innermost(plain), actor_of(text), tuple(names), layers)


def error_of(plain: str) -> Error:
    """The most particular error that words without names tell of."""
    return next((error for error, pattern in _ERRORS if pattern.search(plain)), Error.NONE)


def actor_of(text: str) -> Actor:
    """The innermost component that the words name."""
    return next((actor for actor, pattern in _ACTORS if pattern.search(text)), Actor.NOBODY)


def _innermost(plain: str) -> Error:
    """What containerd appends names the kind of an error that is before it, or the error where that is only a name."""
    plain = plain.strip()
    appended = _APPENDED.search(plain[-80:])
    if appended is None:
        return error_of(plain)
    inner = plain[: len(plain) - len(plain[-80:]) + appended.start()]
    error = error_of(inner)
    last = _PARTS.split(inner)[-1].strip()
    return error_of(plain) if error is Error.NONE and _NAME.fullmatch(last[-200:]) else error


def _unwrapped(text: str) -> str:
    """Without docker's JSON around a message and without escapes."""
    inner = _WRAPPED.match(text.strip())
    text = inner[1] if inner else text
    return text.replace('\\"', '"').replace("\\n", "\n")
