# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a text may be: one function a kind, from a text to what is wrong with it and what to write instead.

Each gives None for a text that is right, or a Wrong. None raises, whatever the text.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import ssl
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple
from urllib.parse import urlsplit

from .._exports.export import Client, Export, check_intent, check_place, client_of
from .._findings import Finding, Status
from .._image.oci import ReferenceInvalidError, parse_reference
from .._kubernetes.quantities import QuantityError, parse_quantity

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
LONG = 512
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?")
_MOUNT_OPTION = re.compile(r"[A-Za-z_]+(?:=[A-Za-z0-9_./:@%+-]+)?")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}")
_MODE = re.compile(r"0[0-7]{3,4}")
_HEADER = re.compile(r"[!-~]*")
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}")
_SYSTEM = re.compile(r"kube-.*|openshift(?:-.*)?|default")
_PEM = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")


class Wrong(NamedTuple):
    """message: follows the value, as in `"A" is no DNS label.`; remedy: what to write."""

    message: str
    remedy: str


Grammar = Callable[[str], "Wrong | None"]


def label(text: str, longest: int = LABEL_LENGTH) -> Wrong | None:
    """A DNS-1123 label, as names of namespaces are."""
    if len(text) <= longest and _LABEL.fullmatch(text):
        return None
    return Wrong(
        "is no name that Kubernetes takes.",
        f"Use lower-case letters, digits and -, with a letter or digit at both ends, at most {longest} characters.",
    )


def server_name(text: str) -> Wrong | None:
    """A name from which those of a Service, a container, scripts and seed Jobs are made (`NAME-seed-0123456789`)."""
    longest = LABEL_LENGTH - len("-seed-0123456789")
    if not text[:1].isdigit():
        return label(text, longest)
    return Wrong("begins with a digit, as no Service may.", "Begin it with a lower-case letter.")


def namespace(text: str) -> Wrong | None:
    """A namespace of one's own."""
    if _SYSTEM.fullmatch(text):
        return Wrong(
            "is a namespace of the cluster itself, which would get this server's labels and Pod Security.",
            "Choose a namespace of the server's own.",
        )
    return label(text)


def subdomain(text: str) -> Wrong | None:
    """A DNS-1123 subdomain, as the names of most objects are."""
    if len(text) <= SUBDOMAIN_LENGTH and all(part and not label(part, SUBDOMAIN_LENGTH) for part in text.split(".")):
        return None
    return Wrong(
        "is no name that Kubernetes takes.",
        "Use lower-case letters, digits, - and dots, with a letter or digit at both ends of each part, at most "
        f"{SUBDOMAIN_LENGTH} characters.",
    )


def driver(text: str) -> Wrong | None:
    """The name of a CSI driver."""
    if len(text) > LABEL_LENGTH:
        return Wrong(f"is longer than the {LABEL_LENGTH} characters of a CSI driver's name.", "Correct it.")
    return subdomain(text)


def qualified(text: str) -> Wrong | None:
    """The key of a label, an annotation or a taint."""
    prefix, slash, name = text.rpartition("/")
    if len(name) <= LABEL_LENGTH and _QUALIFIED.fullmatch(name) and (not slash or not subdomain(prefix)):
        return None
    return Wrong(
        "is no name that Kubernetes takes.",
        "Write it as in app or example.com/app: letters, digits, -, _ and dots, at most 63 characters after the slash.",
    )


def annotation_key(text: str) -> Wrong | None:
    """The key of an annotation, whose prefix may have capitals."""
    prefix, slash, name = text.rpartition("/")
    return qualified(prefix.lower() + slash + name)


def label_value(text: str) -> Wrong | None:
    """The value of a label, a node selector or a toleration."""
    if not text or (len(text) <= LABEL_LENGTH and _QUALIFIED.fullmatch(text)):
        return None
    return Wrong(
        "is no value that a label can have.",
        "Use letters, digits, -, _ and dots, with a letter or digit at both ends, at most 63 characters.",
    )


def resource(text: str) -> Wrong | None:
    """The name of an extended resource."""
    prefix, slash, _ = text.rpartition("/")
    wrong = qualified(text)
    if wrong or not slash or prefix.endswith("kubernetes.io") or prefix.startswith("requests."):
        return Wrong("is no extended resource.", "Write it as the nodes offer it, as in nvidia.com/gpu.")
    return None


def variable_name(text: str) -> Wrong | None:
    """The name of an environment variable, as every shell and kubelet takes it."""
    if _VARIABLE.fullmatch(text):
        return None
    return Wrong("is no name of an environment variable.", "Use letters, digits and _, and no digit at the beginning.")


def environment_value(text: str) -> Wrong | None:
    """What a process can be given."""
    if "\0" in text:
        return Wrong("has a NUL in it, which no process can be given.", "Remove it.")
    if len(text.encode(errors="replace")) > 131000:
        return Wrong("is longer than the 128 KiB that Linux gives a process in one variable.", "Shorten it.")
    return None


def annotation_value(text: str) -> Wrong | None:
    """Any text that fits."""
    if len(text.encode(errors="replace")) > 262144:
        return Wrong("is longer than the 256 KiB of all annotations.", "Shorten it.")
    return None


def quantity(text: str) -> Wrong | None:
    """A quantity of Kubernetes that is not negative."""
    try:
        number = parse_quantity(text)
    except QuantityError:
        return Wrong("is no quantity that Kubernetes reads.", "Write it as in 500m, 2, 512Mi or 10Gi.")
    return Wrong("is negative.", "Write 0 or more.") if number < 0 else None


def count(text: str) -> Wrong | None:
    """How much of an extended resource: a whole number, at least 1."""
    wrong = quantity(text)
    if not wrong and (parse_quantity(text).denominator != 1 or parse_quantity(text) < 1):
        return Wrong("is no whole number of at least 1.", "Write it as in 1500 or 5k.")
    return wrong


def tenant(text: str) -> Wrong | None:
    """A container of a namespace."""
    namespace_, _, container = text.partition("/")
    if label(namespace_) or label(container):
        return Wrong("is not NAMESPACE/CONTAINER.", "Write it as in immich/immich-machine-learning.")
    return None


def service_port(text: str) -> Wrong | None:
    """A Service's port."""
    if not re.fullmatch(r"[a-z0-9-]{1,63}/[a-z0-9-]{1,63}:[a-z0-9-]{1,15}", text):
        return Wrong("is not NAMESPACE/NAME:PORT.", "Write it as in monitoring/prometheus-server:80.")
    return None


def window(text: str) -> Wrong | None:
    """A duration as Prometheus writes it, of one unit."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}[smhdw]", text):
        return Wrong("is no duration.", "Write it as in 7d or 12h.")
    return None


def metric(text: str) -> Wrong | None:
    """A metric's name."""
    if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", text):
        return None
    return Wrong("is no name of a metric.", "Write it as in DCGM_FI_DEV_FB_FREE: letters, digits, _ and colons.")


def metric_label(text: str) -> Wrong | None:
    """The name of a metric's label, or of an alert's."""
    if re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,99}", text):
        return None
    return Wrong("is no name that a metric's label can have.", "Use letters, digits and _, and no __ at the beginning.")


_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_FIELDS: tuple[tuple[int, int, str], ...] = (
    (0, 59, ""),
    (0, 23, ""),
    (1, 31, ""),
    (1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    (0, 6, "sun mon tue wed thu fri sat"),
)
"""Least, most and names of a schedule's fields, as Kubernetes reads them (robfig/cron, ParseStandard)."""


def schedule(text: str) -> Wrong | None:
    """When a CronJob runs."""
    fields = text.split(" ")
    if text in _MACROS or (len(fields) == 5 and all(map(_cron_field, fields, _FIELDS))):
        return None
    return Wrong(
        "is no schedule.",
        'Write five fields with one blank between them, as in "*/15 * * * *": minute, hour, day, month, day of the '
        "week (0 to 6).",
    )


def _cron_field(text: str, bounds: tuple[int, int, str]) -> bool:
    least, most, names = bounds
    known = {name: least + number for number, name in enumerate(names.split())}
    for part in text.split(","):
        found = re.fullmatch(
            r"(?:(?P<all>[*?])|(?P<first>\w{1,3})(?:-(?P<last>\w{1,3}))?)(?:/(?P<step>[1-9][0-9]?))?", part
        )
        if not found:
            return False
        ends = [found["first"], found["last"] or found["first"]] if not found["all"] else []
        numbers = [known.get(one.lower(), int(one) if re.fullmatch("[0-9]+", one) else -1) for one in ends]
        if numbers and not least <= numbers[0] <= numbers[1] <= most:
            return False
    return True


def time_zone(text: str) -> Wrong | None:
    """A name of the time zone database. Whether there is one of this name, the API server says."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}", text) and text.lower() != "local":
        return None
    return Wrong("is no name of a time zone.", "Write it as in Etc/UTC or Europe/Sofia.")


def url_path(text: str) -> Wrong | None:
    """What stands before the paths of a server."""
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]{0,200}", text):
        return Wrong("is no path of a server.", "Write it as in /prometheus.")
    return None


def cpu(text: str) -> Wrong | None:
    """Processors, in steps of a thousandth."""
    wrong = quantity(text)
    if not wrong and (parse_quantity(text) * 1000).denominator != 1:
        return Wrong("is finer than Kubernetes counts processors.", "Write whole thousandths, as in 200m.")
    return wrong


def memory(text: str) -> Wrong | None:
    """Bytes, at least a mebibyte of them."""
    wrong = quantity(text)
    if not wrong and parse_quantity(text) < Fraction(2**20):
        return Wrong("is less than one MiB.", "Write the unit too, as in 512Mi or 2Gi; m is a thousandth of a byte.")
    return wrong


def path(text: str) -> Wrong | None:
    """A plain absolute path below the root."""
    if any(not char.isprintable() for char in text):
        return Wrong("has a character in it that cannot be printed.", "Rename the directory, or correct the path.")
    if not text.startswith("/") or any(part in ("", ".", "..") for part in text[1:].split("/")):
        return Wrong(
            "is no plain absolute path.",
            "Write it from the root, without '.', '..', double or trailing slashes; '/' itself will not do.",
        )
    return Wrong("is longer than a path can be.", "Shorten it.") if len(text.encode()) > 4095 else None


def mountpoint(text: str) -> Wrong | None:
    """A mountpoint that can stand in an export's options."""
    if text == "/":
        return None
    if any(char in '(), "#\\' for char in text):
        return Wrong("cannot be written as an option of an export.", 'Rename the mountpoint, or require none: "".')
    return path(text)


def source_path(text: str) -> Wrong | None:
    """A path on the controller from which files are read, by their names as they stand."""
    if any(char in "*?[]" for char in text):
        return Wrong("has a wildcard in it.", "Name the one folder or archive itself.")
    return path(text.rstrip("/") or "/")


def inner_path(text: str) -> Wrong | None:
    """A path below a directory, or the directory itself."""
    if text == ".":
        return None
    if not text or text.startswith("/") or posixpath.normpath(text) != text or text.split("/")[0] == "..":
        return Wrong("is no path below the export.", "Write it relative to the export, as in hub, or . for itself.")
    return None if text.isprintable() else Wrong("has a character in it that cannot be printed.", "Rename it.")


def file_path(text: str) -> Wrong | None:
    """A file on the controller, from anywhere."""
    if not text.isprintable():
        return Wrong("has a character in it that cannot be printed.", "Correct the path.")
    return Wrong("is longer than a path can be.", "Shorten it.") if len(text.encode()) > 4095 else None


def line(text: str) -> Wrong | None:
    """Any text of one line."""
    if len(text) > 2 * LONG:
        return Wrong(f"is longer than {2 * LONG} characters.", "Shorten it.")
    return None if text.isprintable() else Wrong("has a line break or a control character in it.", "Write one line.")


def words(text: str) -> Wrong | None:
    """What is said in a clip."""
    if not any(char.isalnum() for char in text):
        return Wrong("has no word in it, so nothing could be compared.", "Write what is said in the clip.")
    return None if "\0" not in text else Wrong("has a NUL in it.", "Remove it.")


def language(text: str) -> Wrong | None:
    """ISO 639-1, or 639-2 where there is no shorter one."""
    return None if _LANGUAGE.fullmatch(text) else Wrong("is no code of a language.", "Write it as in en or bg.")


def host(text: str) -> Wrong | None:
    """A host by name or address, and nothing beside it."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(inner)
    except ValueError:
        looks_like_address = re.fullmatch(r"[0-9.]+", text)
        if not looks_like_address and len(text) <= SUBDOMAIN_LENGTH and _HOST.fullmatch(text):
            return None
    else:
        if "%" not in inner and (inner is text or address.version == 6):
            return None
    return Wrong(
        "is no host name or address.",
        "Write the name or address alone, as in 192.168.1.127 or nas.lan: no user, password, port or path.",
    )


def network(text: str) -> Wrong | None:
    """A network as Kubernetes' policies take it: the prefix in bits, no host bits."""
    address, slash, bits = text.partition("/")
    try:
        exact = ipaddress.ip_network(text, strict=False)
    except ValueError:
        exact = None
    if exact is None or not slash or not re.fullmatch(r"0|[1-9][0-9]*", bits) or "%" in address:
        return Wrong("is no network.", "Write it with its prefix, as in 192.168.1.0/24.")
    if ipaddress.ip_address(address) != exact.network_address:
        return Wrong(
            "is an address in a network, not a network.", f"Write {exact}, or {address}/{exact.max_prefixlen}."
        )
    return None


def url(text: str) -> Wrong | None:
    """An http(s) address without credentials."""
    wrong = Wrong(
        "is no http:// or https:// address.", "Write it as in https://mirror.example.net or http://host:8000."
    )
    if not text.isprintable() or not text.isascii() or " " in text or len(text) > 2048:
        return wrong
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return wrong
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or "\\" in text or '"' in text:
        return wrong
    if "@" in parts.netloc:
        return Wrong(
            "has a user or a password in it, which objects and logs would show.", "Write the address without them."
        )
    if "?" in text or "#" in text:
        return Wrong("has a query or a fragment.", "Write the address without ? and #.")
    return wrong if host(f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname) else None


def registry(text: str) -> Wrong | None:
    """The name of a registry, as image references begin."""
    if re.fullmatch(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?", text):
        return None
    return Wrong("is no name of a registry.", "Write it as images name it, as in ghcr.io or registry.lan:5000.")


def model(text: str) -> Wrong | None:
    """`org/name`, as the hub allows it (huggingface_hub utils/_validators.py, validate_repo_id)."""
    parts = text.split("/")
    sound = len(parts) == 2 and all(_MODEL_PART.fullmatch(part) for part in parts)
    if sound and len(text) <= 96 and not re.search(r"--|\.\.", text) and not text.endswith((".git", ".ipynb")):
        return None
    return Wrong(
        "is no name of a model on the hub.",
        "Write it as org/name: letters, digits, -, _ and dots, no -- or .., at most 96 characters.",
    )


def revision(text: str) -> Wrong | None:
    """A commit, or the name of a branch or tag (git-check-ref-format) in the characters that the seed Job takes."""
    if _REFERENCE.fullmatch(text) and ".." not in text and all(_ref_part(part) for part in text.split("/")):
        return None
    return Wrong("is no commit, branch or tag.", "Write the 40 hexadecimal digits of the commit.")


def _ref_part(part: str) -> bool:
    return bool(part) and not part.startswith(".") and not part.endswith((".", ".lock"))


def header(text: str) -> Wrong | None:
    """A key or token that can be sent in an HTTP header."""
    if _HEADER.fullmatch(text) and len(text) <= 4096:
        return None
    return Wrong(
        "has a blank, a line break or another character that no HTTP header can carry, or is longer than 4096.",
        "A file in a vault often ends in a line break: write the value on the line of its variable, or add "
        '"| trim" to the lookup that reads it.',
    )


def certificates(text: str) -> Wrong | None:
    """Certificates in PEM form, each of which can be read."""
    if "PRIVATE KEY" in text:
        return Wrong(
            "has a private key in it, and would be readable by all in the namespace.", "Give certificates only."
        )
    begin, end = _PEM
    parts = text.split(begin)[1:]
    if parts and all(part.count(end) == 1 for part in parts):
        try:
            for part in parts:
                body = begin + part.partition(end)[0] + end
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=body)
            return None
        except (ValueError, OSError):  # of which SSLError is one
            pass
    return Wrong(
        "is no certificate in PEM form.",
        "Give the text itself, not a path: \"{{ lookup('ansible.builtin.file', 'ca.pem') }}\".",
    )


def mount_option(text: str) -> Wrong | None:
    """One option of mount(8) or nfs(5) that leaves the mount what it is."""
    if not _MOUNT_OPTION.fullmatch(text):
        return Wrong("is not one mount option.", "Write each option as its own item, without commas or blanks.")
    name = text.partition("=")[0]
    if name == "hard":
        return Wrong("would hang pods for minutes when the NFS host is away.", "Write soft, with timeo and retrans.")
    if name in ("bind", "rbind", "move", "remount", "addr", "mountaddr", "clientaddr", "fsid"):
        return Wrong("would mount something else than the volume.", "Leave it out.")
    return None


def image(text: str) -> Wrong | None:
    """A reference that docker and containerd understand."""
    try:
        if len(text) <= 512:
            parse_reference(text)
            return None
    except ReferenceInvalidError:
        pass
    return Wrong(
        "is no image reference.",
        "Write registry/repository:tag or registry/repository@sha256:…, all lower case before the tag.",
    )


def export_name(text: str) -> Wrong | None:
    """The name of an export's file."""
    return _of_export(text, "", check_place(Export(text[:LONG], "/srv"), subject=""))


def export_path(text: str) -> Wrong | None:
    """A directory that can be exported."""
    return path(text) or _of_export(text, "", check_place(Export("x", text[:LONG]), subject=""))


def client(text: str) -> Wrong | None:
    """Who may mount: as exports(5) names them. Whether that is everybody is asked elsewhere."""
    found = check_intent(Export("x", "/srv", (client_of(text[:LONG], ("ro",)),)), subject="", allow_world=True)
    return _of_export(text, "The client ", found)


def export_option(text: str) -> Wrong | None:
    """One option of exports(5) that does not break the host's other exports."""
    found = check_intent(Export("x", "/srv", (Client("10.0.0.1", (text[:LONG],)),)), subject="", allow_world=True)
    return _of_export(text, "", found)


def _of_export(text: str, start: str, findings: list[Finding]) -> Wrong | None:
    refused = [finding for finding in findings if finding.status is Status.REFUSED]
    if len(text) > LONG:
        return Wrong(f"is longer than {LONG} characters.", "Shorten it.")
    if not refused:
        return None
    message = refused[0].message.removeprefix("The name ").removeprefix("The path ").removeprefix(start)
    message = message.removeprefix(repr(text)).removeprefix(text).strip()
    return Wrong(re.sub(r"^(is not a network): .*", r"\1.", message, flags=re.DOTALL), refused[0].remedy)


def mode(text: str) -> Wrong | None:
    """Permission bits, octal, with a zero first: 420 may be what YAML has made of 0644."""
    return None if _MODE.fullmatch(text) else Wrong("is no octal mode.", 'Write it in quotes, as in "0755".')
