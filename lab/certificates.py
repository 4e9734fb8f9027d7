"""Keys and certificates of the lab's cluster, and kubeconfigs for whom a test needs."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.network import HOST
from lab.paths import STATE

PKI = STATE / "pki"
KUBECONFIG = STATE / "kubeconfig"
API = f"https://{HOST}:6443"

_SERVER_NAMES = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
_SERVER_ADDRESSES = [HOST, "127.0.0.1", "10.88.0.1"]
_VALID = timedelta(days=365)


def ensure() -> None:
    """Makes what is missing: CA, API server, administrator, key of service accounts, STATE/kubeconfig."""
    PKI.mkdir(mode=0o700, parents=True, exist_ok=True)
    if KUBECONFIG.exists():
        return
    authority = _key("ca")
    _certificate("ca", authority, authority, "portal-stt-lab", [], x509.BasicConstraints(True, None))
    names = [x509.DNSName(name) for name in _SERVER_NAMES]
    addresses = [x509.IPAddress(ip_address(address)) for address in _SERVER_ADDRESSES]
    _certificate("server", _key("server"), authority, "server", [], x509.SubjectAlternativeName([*names, *addresses]))
    _certificate("admin", _key("admin"), authority, "lab-admin", ["system:masters"])
    _key("service-accounts")
    _write(KUBECONFIG, _kubeconfig("lab-admin", _pem("admin.crt"), _pem("admin.key")))


def kubeconfig_for(user: str, groups: list[str] | None = None) -> str:
    """A kubeconfig (YAML) of a user of these groups, with a client certificate of the lab's own authority.

    Node `n` is user ``system:node:n`` of group ``system:nodes``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    loaded = serialization.load_pem_private_key(_pem("ca.key"), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return _kubeconfig(user, _sign(key, loaded, user, groups or []), _private(key))


def _kubeconfig(user: str, certificate: bytes, key: bytes) -> str:
    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    cluster = {"server": API, "certificate-authority-data": data(_pem("ca.crt"))}
    identity = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "users": [{"name": user, "user": identity}],
        },
        sort_keys=False,
    )


def _key(name: str) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    _write(PKI / f"{name}.key", _private(key).decode())
    return key


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    user: str,
    groups: list[str],
    *extensions: x509.ExtensionType,
) -> None:
    _write(PKI / f"{name}.crt", _sign(key, authority, user, groups, *extensions).decode())


def _sign(
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    user: str,
    groups: list[str],
    *extensions: x509.ExtensionType,
) -> bytes:
    """A certificate in PEM; Kubernetes takes the common name for the user and organisations for groups."""
    now = datetime.now(UTC)
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal-stt-lab")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    if not any(isinstance(extension, x509.BasicConstraints) for extension in extensions):
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _pem(name: str) -> bytes:
    return (PKI / name).read_bytes()


def _write(path: Path, content: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
