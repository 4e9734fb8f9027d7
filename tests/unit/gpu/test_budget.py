"""The card's memory as arithmetic: incidents of an operator and of public threads, to the MiB."""

from __future__ import annotations

import pytest
from ansible_collections.portal.stt.plugins.module_utils._gpu.budget import Fit, Shrink, Tenant, budget

USABLE = 14913  # Tesla T4, ECC on: 15360 - 447
STEADY = (Tenant("frigate/frigate", 1950, 1950), Tenant("android/emulator", 150, 150))
IMMICH = Tenant("immich/immich-ml", 2150, 2150)
IDLE_LLAMA = Tenant("llama/llama-swap", 0, 4455)
RESIDENT_LLAMA = Tenant("llama/llama-swap", 0, 6996)


@pytest.mark.parametrize(
    ("tenants", "fit", "worst", "left", "shrink"),
    [
        pytest.param((IMMICH, *STEADY, IDLE_LLAMA), Fit.FITS, 10205, 4708, (), id="the first draft's numbers"),
        pytest.param((IMMICH, *STEADY, RESIDENT_LLAMA), Fit.FITS, 12746, 2167, (), id="llama-swap resident"),
        pytest.param(
            (Tenant("immich/immich-ml", 2150, 10700), *STEADY, IDLE_LLAMA),
            Fit.ONLY_NOW,
            18755,
            -3842,
            (Shrink("immich/immich-ml", 10700, 6858), Shrink("llama/llama-swap", 4455, 613)),
            id="immich uncapped",
        ),
        pytest.param(
            (Tenant("immich/immich-ml", 10700, 10700), *STEADY, Tenant("llama/llama-swap", 4455, 4455)),
            Fit.NOT,
            18755,
            -3842,
            (Shrink("immich/immich-ml", 10700, 6858), Shrink("llama/llama-swap", 4455, 613)),
            id="immich uncapped, and all of it in use",
        ),
        pytest.param(
            (Tenant("ollama/ollama", 9000, 9000), Tenant("whisper/whisper", 4430, 5913)),
            Fit.NOT,
            16413,
            -1500,
            (Shrink("ollama/ollama", 9000, 7500), Shrink("whisper/whisper", 5913, 4413)),
            id="two tenants have the card",
        ),
        pytest.param(
            (Tenant("search/embeddings", 14900, 14900),),
            Fit.NOT,
            16400,
            -1487,
            (Shrink("search/embeddings", 14900, 13413),),
            id="one arena has the card",
        ),
    ],
)
def test_incidents(tenants: tuple[Tenant, ...], fit: Fit, worst: int, left: int, shrink: tuple[Shrink, ...]) -> None:
    found = budget(USABLE, tenants, 1500)
    assert (found.fit, found.worst, found.left, found.shrink) == (fit, worst, left, shrink)


def test_2026_06_02_llama_is_short_and_a_small_server_fits_only_now() -> None:
    """12571 in use, 10726 of it immich's: a model of 4455 fails for 2113, one of 1500 finds room for the moment."""
    tenants = (Tenant("immich/immich-ml", 10726, 10726), Tenant("frigate/frigate", 1845, 1950))
    wanted = budget(USABLE, tenants, 4455)
    assert (wanted.fit, wanted.left_now) == (Fit.NOT, -2113)
    ours = budget(USABLE, tenants, 1500, headroom=800)
    assert (ours.fit, ours.left_now, ours.shrink[0].name) == (Fit.ONLY_NOW, 842, "immich/immich-ml")


def test_2026_08_31_hardly_anything_is_left() -> None:
    """14861 in use, 12044 of it immich's; 52 are left, not the 499 that the card's total would give."""
    tenants = (Tenant("immich/immich-ml", 12044, 12044), Tenant("frigate/frigate", 2817, 2817))
    assert budget(USABLE, tenants, 0).left_now == 52
    found = budget(USABLE, tenants, 1500)
    assert (found.fit, found.shrink) == (
        Fit.NOT,
        (Shrink("immich/immich-ml", 12044, 10596), Shrink("frigate/frigate", 2817, 1369)),
    )


@pytest.mark.parametrize(
    ("ours", "left"), [pytest.param(3302, 5611, id="idle"), pytest.param(5798, 3115, id="with long audio")]
)
def test_ours_counts_with_its_peak(ours: int, left: int) -> None:
    assert budget(USABLE, (Tenant("others/others", 6000, 6000),), ours).left == left


def test_headroom_is_demanded_and_what_belongs_to_nobody_counts() -> None:
    tenants = (IMMICH, *STEADY, IDLE_LLAMA)
    assert budget(USABLE, tenants, 1500, headroom=4708).fit is Fit.FITS
    assert budget(USABLE, tenants, 1500, headroom=4709).fit is Fit.ONLY_NOW
    assert budget(USABLE, tenants, 1500, unattributed=16).left == 4692
    assert budget(USABLE, (Tenant("grown/grown", 3000, 2000),), 0).worst == 3000
