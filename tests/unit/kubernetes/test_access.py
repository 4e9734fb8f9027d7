"""What is wrong with a kubeconfig is told, in words, before anything is sent."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import access
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import ClusterError, connect
from kubernetes.client import Configuration

SET = "Set kubeconfig (or K8S_AUTH_KUBECONFIG) and context, or host and api_key, for this inventory host."
PICK = "Set context (or K8S_AUTH_CONTEXT) to one that is in it."
CORRECT = "Correct the kubeconfig, or choose another context."
BY_HAND = "Run that command by hand, as the user that runs Ansible: it may want a login first."


@pytest.fixture(autouse=True)
def _no_access_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def config(user: dict[str, Any] | None = None, /, **changed: Any) -> dict[str, Any]:
    """A kubeconfig with two contexts."""
    user = {"token": "t"} if user is None else user
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "home",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "contexts": [
            {"name": "home", "context": {"cluster": "c", "user": "u"}},
            {"name": "gone", "context": {"cluster": "other", "user": "u"}},
            {"name": "nobody", "context": {"cluster": "c", "user": "other"}},
        ],
        "users": [{"name": "u", "user": user}],
        **changed,
    }


def refusal(**params: Any) -> tuple[str, str, str]:
    with pytest.raises(ClusterError) as caught:
        connect(params)
    return caught.value.subject, caught.value.message, caught.value.remedy


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        pytest.param(None, "", "there is no such file on this machine.", id="not there"),
        pytest.param("folder", "", "it is a folder, not a file.", id="a folder"),
        pytest.param(b"\x89PNG\r\n\x1a\n\xff\xfe", "", "it is not text: that is no kubeconfig.", id="binary"),
        pytest.param(b"", "", "it is empty.", id="empty"),
        pytest.param(b"a: b: c\n", ", line 1", "it is not YAML: mapping values are not allowed here.", id="malformed"),
        pytest.param(b"- 1\n", "", "it is not a kubeconfig: not a map of clusters, contexts and users.", id="a list"),
        pytest.param(
            b"users: 1\n", "", "it is not a kubeconfig: users is not a list of things with names.", id="other YAML"
        ),
        pytest.param(
            b"<html>: x" + b" " * access.KUBECONFIG_BYTES,
            "",
            "it is larger than 8 MiB: that is no kubeconfig.",
            id="too large",
        ),
        pytest.param(b"[" * 20_000, "", "it is nested too deeply: that is no kubeconfig.", id="nested"),
        pytest.param(b"a: 2026-13-45\n", "", "it is not YAML: month must be in 1..12.", id="a date that is none"),
        pytest.param(
            "\n".join(
                [
                    "a: &a [x]",
                    *(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdef", "bcdefg", strict=True)),
                ]
            ).encode(),
            "",
            "its YAML aliases unfold to more than any kubeconfig holds.",
            id="aliases",
        ),
        pytest.param(b"a: &a [*a]\n", "", "its YAML aliases unfold to more than any kubeconfig holds.", id="itself"),
        pytest.param("pipe", "", "it is a pipe or a device, not a file.", id="a pipe"),
    ],
)
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, content: bytes | str | None, where: str, message: str) -> None:
    path = tmp_path / "config"
    if content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    assert refusal(kubeconfig=str(path)) == (f"kubeconfig config in {tmp_path}{where}", message, SET)


@pytest.mark.parametrize("form", ["file", "dictionary"])
@pytest.mark.parametrize(
    ("content", "context", "message", "remedy"),
    [
        pytest.param(
            {**config(), "current-context": ""},
            None,
            "it has no current context; contexts in it: home, gone, nobody.",
            PICK,
            id="no current context",
        ),
        pytest.param(
            config(),
            "hom",
            "it has no context hom; contexts in it: home, gone, nobody.",
            PICK,
            id="another context",
        ),
        pytest.param(config(contexts=[]), None, "it has no context home; contexts in it: none.", PICK, id="none"),
        pytest.param(
            config(),
            "gone",
            "its context gone names the cluster other, which is not in it with a server.",
            CORRECT,
            id="no cluster",
        ),
        pytest.param(
            config(), "nobody", "its context nobody names the user other, who is not in it.", CORRECT, id="no user"
        ),
    ],
)
def test_a_kubeconfig_that_does_not_hold_together(
    tmp_path: Path, form: str, content: dict[str, Any], context: str | None, message: str, remedy: str
) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(content))
    given = str(path) if form == "file" else content
    assert refusal(kubeconfig=given, context=context) == ("kubeconfig", message, remedy)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1:6443", "127.0.0.1:6443"),
        ("https://", "https:"),
        ("ftp://u:geheim@h", "h"),
        ("http://h:x", "http://h:x"),
    ],
)
def test_an_address_that_is_none(host: str, shown: str) -> None:
    message = f"its address is not a URL such as https://192.168.1.10:6443: {shown}."
    assert refusal(host=host, api_key="k") == ("the cluster", message, SET)


def test_a_certificate_that_is_not_there() -> None:
    said = "the file with its certificate authority cannot be read: /nowhere/ca.crt."
    assert refusal(host="https://127.0.0.1:1", api_key="k", ca_cert="/nowhere/ca.crt") == (
        "the cluster",
        said,
        "Correct the path, or its rights.",
    )


def plugin(folder: Path, script: str) -> dict[str, Any]:
    path = folder / "get-token"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"command": str(path), "apiVersion": "client.authentication.k8s.io/v1"}}


TOKEN = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}


def test_a_credential_plugin(tmp_path: Path) -> None:
    user = plugin(tmp_path, f"echo '{json.dumps(TOKEN)}'")
    cluster = connect({"kubeconfig": config(user)})
    assert cluster._headers(None)["Authorization"] == "Bearer fresh"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("sleep 600 & echo $! > child; wait", "it had not ended after 0.5 s", id="hangs"),
        pytest.param("echo please log in >&2; exit 3", "exec: process returned 3. please log in", id="fails"),
        pytest.param(
            "echo hello",
            "exec: failed to decode process output: Expecting value: line 1 column 1 (char 0)",
            id="says something else",
        ),
        pytest.param("echo '{\"kind\": 1}'", "exec: malformed response. missing key 'apiVersion'", id="other JSON"),
    ],
)
def test_a_credential_plugin_that_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    if "ended after" in said:  # the others have their time, also on a busy machine
        monkeypatch.setattr(access, "PLUGIN_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)
    user = plugin(tmp_path, script)
    message = f"its credential plugin {tmp_path}/get-token gave no credentials: {said}."
    assert refusal(kubeconfig=config(user)) == ("kubeconfig, context home", message, BY_HAND)
    if (tmp_path / "child").exists():
        child = int((tmp_path / "child").read_text())
        state = Path(f"/proc/{child}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_credential_plugin_that_is_not_there() -> None:
    user = {"exec": {"command": "/nowhere/get-token", "apiVersion": "client.authentication.k8s.io/v1"}}
    said = "its credential plugin /nowhere/get-token gave no credentials: "
    assert refusal(kubeconfig=config(user))[1].startswith(said)


def test_credentials_of_one_cluster_do_not_reach_the_next(tmp_path: Path) -> None:
    """Both are asked in one process where a task has a loop."""
    connect({"kubeconfig": config({"username": "u", "password": "secret", "token": "t"})})
    after = connect({"host": "https://127.0.0.1:7", "api_key": "k"})
    assert after._headers(None)["Authorization"] == "Bearer k"
    assert after._configuration.username in (None, "")
    assert Configuration._default is None


def test_environment_is_read_when_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library reads KUBECONFIG once, when it is imported: in this process, long before the task."""
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config()))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert connect({}).url == "https://127.0.0.1:6443"
    assert connect({"context": "home"}).url == "https://127.0.0.1:6443"


def test_files_with_keys_are_removed(tmp_path: Path) -> None:
    kube_config = sys.modules["kubernetes.config.kube_config"]
    data = {"client-certificate-data": "YQ==", "client-key-data": "Yg=="}
    connect({"kubeconfig": config(data)})
    written = list(kube_config._temp_files.values())
    assert written
    access.forget()
    assert [path for path in written if Path(path).exists()] == []


def test_no_thread_is_left(tmp_path: Path) -> None:
    before = threading.active_count()
    connect({"kubeconfig": config(plugin(tmp_path, f"echo '{json.dumps(TOKEN)}'"))})
    assert threading.active_count() == before


def test_what_a_kubeconfig_names_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pipe that nobody writes to stands for all that the client library waits for without a limit."""
    monkeypatch.setattr(access, "ACCESS_SECONDS", 0.2)
    os.mkfifo(tmp_path / "token")
    assert refusal(kubeconfig=config({"tokenFile": str(tmp_path / "token")})) == (
        "the cluster",
        "the access to it is not complete after 0.2 s: something that the kubeconfig names (an identity provider, a "
        "file) does not answer.",
        "Look at the user of that context in the kubeconfig, or give host and api_key.",
    )
    os.close(os.open(tmp_path / "token", os.O_WRONLY | os.O_NONBLOCK))  # the one who waits is let go


def test_what_the_client_library_trips_over_is_a_sentence() -> None:
    subject, message, remedy = refusal(kubeconfig=config({"auth-provider": {"name": "gcp"}}))
    assert (subject, remedy) == ("the cluster", SET)
    assert message.startswith("no access is configured: ")
