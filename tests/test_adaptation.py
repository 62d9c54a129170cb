"""The BatchNorm statistics and their repair, as notebook 01 writes them out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cxr_helpers import adaptation, data, model
from tests.conftest import lesson

RANDOM = model.resolve_weights("random")


def split(images: np.ndarray, labels: np.ndarray | None = None) -> data.Split:
    rows = np.arange(len(images))
    return data.Split(images, rows % 2 if labels is None else labels, rows)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16)).astype(np.uint8)


def test_the_drift_is_that_of_all_images_whatever_the_batch():
    # the second batch is another kind, and shorter
    bright = np.concatenate([images(64), np.full((16, 16, 16), 255, np.uint8)])
    cells = ("statistik-catat", "statistik-geser")
    network = model.build(RANDOM, 0).eval()
    drift = lesson("01_adaptasi_bobot", *cells)["drift"](network, bright)
    assert len(drift) == 20 and drift[0]["layer"] == "bn1"
    with torch.no_grad():
        response = network.conv1(data.to_tensor(bright))
    stored = (network.bn1.running_var + network.bn1.eps).sqrt()
    shift, scale = response.mean((0, 2, 3)).abs() / stored, response.std((0, 2, 3)) / stored
    assert drift[0]["shift"] == pytest.approx(shift.median().item(), rel=1e-3)
    assert drift[0]["scale"] == pytest.approx(scale.median().item(), rel=1e-3)


@pytest.mark.parametrize(
    ("mended", "broken", "side"),
    [(8, 8, "across"), (4, 0, "across"), (16, 0, "above"), (20, 4, "above"), (4, 20, "below")],
)
def test_a_repair_is_judged_by_the_images_that_it_changes(monkeypatch, mended, broken, side):
    """Of 400 images 320 are right before; alone, the two intervals would overlap."""
    labels, place = (np.arange(400) % 2).astype(np.uint8), np.arange(400)
    before, sign = place < 320, np.where(labels == 1, 1, -1)
    after = (before & (place >= broken)) | ((place >= 320) & (place < 320 + mended))
    given = iter([np.where(right, sign, -sign) for right in (before, after)])
    monkeypatch.setattr(adaptation, "probe_logits", lambda *_: next(given))
    study = SimpleNamespace(seed=0)
    repair = lesson("01_adaptasi_bobot", "statistik-taksir-kode", study=study)["repair"]
    val = split(images(400), labels)
    change = repair(model.build(RANDOM, 0), split(images(8)), val)["change"]
    assert (change["side"], change["value"]) == (side, pytest.approx((mended - broken) / 400))


@pytest.mark.parametrize(("kind", "shown"), [("imagenet", True), ("random", False)])
def test_statistics_are_measured_where_training_left_some(monkeypatch, kind, shown):
    """Random weights hold a mean of 0 and a deviation of 1: nothing can have drifted."""
    state = model.build(RANDOM, 0).state_dict() if shown else None
    used = SimpleNamespace(train=split(images(8)), val=split(images(8)))
    weights = model.Weights(kind, "", "", state, kind)
    study = SimpleNamespace(used=used, weights=weights, seed=0)
    monkeypatch.setattr(model, "build", lambda *_: torch.nn.Identity())
    known = {"pixels": 28, "drift": lambda *_: [], "repair": lambda *_: {"change": {"value": 0.0}}}
    bab = lesson("01_adaptasi_bobot", "statistik-hasil", study=study, **known)["bab"]
    assert (bab.record.call_args.kwargs["batch_norm"] is not None) is shown
    assert bab.figure.called is shown
