"""What the role tells the server, read by the stand-in as Speaches reads it."""

from __future__ import annotations

import pytest
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import ENVIRONMENT

from lab.speech.server import Settings


def test_the_server_understands_what_the_role_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is mistyped in the role would leave Speaches' own default here."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment() == Settings(
        log_level="info",
        stt_model_ttl=-1,
        enable_ui=False,
        exclude_providers=["TensorrtExecutionProvider", "CUDAExecutionProvider"],
        inference_device="cuda",
        compute_type="int8",
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ENABLE_UI", "nein", "ENABLE_UI is not a truth value"),
        ("UNSTABLE_ORT_OPTS__EXCLUDE_PROVIDERS", "CUDAExecutionProvider", "Expecting value"),
        ("UNSTABLE_ORT_OPTS__EXCLUDE_PROVIDERS", "['CUDAExecutionProvider']", "Expecting value"),
        ("UNSTABLE_ORT_OPTS__EXCLUDE_PROVIDERS", '"x"', "EXCLUDE_PROVIDERS is not a JSON list of strings"),
        ("PRELOAD_MODELS", "[1]", "PRELOAD_MODELS is not a JSON list of strings"),
    ],
)
def test_settings_that_end_the_server(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        Settings.from_environment()
