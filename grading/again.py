"""Claimed runs trained again (ULANG), a student's own code included: in the box, which sees our
data and weights besides.

Who is drawn cannot be foreseen: the order hangs on all hand-ins together. Without the box
(TANPA_KOTAK=1) runs with own code are left out: they are never trained outside. What this shows:
the settings and code handed in give the predictions handed in.
"""

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t

from cxr_helpers import evaluation, reference
from cxr_helpers.engine import files, indonesian, runtime
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from grading import box, claims, package

EPOCHS = 5  # a run of more than so many times the preset's epochs is not done again
# seconds: times those of the student's own file, within these bounds
SLOWER, LEAST, MOST = 4, 300, 1800
CPU = 4 * MOST
# times, bfloat16 than float32 where a processor has it; where it has not, the emulation is ten
# times slower
FASTER = 2
PIECE = 1000  # predictions that come out of the box at once
TRAIN = """
import json, torch
from cxr_helpers import training
from cxr_helpers.study import open_study
given = json.loads({given!r})
study = open_study(**given["study"])
torch.set_num_threads(given["threads"])
config = {{k: tuple(v) if isinstance(v, list) else v for k, v in given["config"].items()}}
config = training.TrainConfig(**config)
found = training.fit(config, study.used, study.weights, "cpu").logits["test_best"]
"""
ASK = "hasil['uji'] = lambda: [found[i : i + {piece}] for i in range(0, len(found), {piece})]"


def drawn(
    claimed: dict[str, claims.Claim], ulang: str, salt: str, budget: float = 3600
) -> list[str]:
    """Whose training is done again: nobody's ("0"), all ("all"), or as many as an hour holds ("1"),
    in an unforeseeable order.
    """
    able = [
        one
        for one, claim in claimed.items()
        if claim.status in ("cocok", "tidak cocok") and claim.key
    ]
    order = sorted(able, key=lambda one: hashlib.sha256(f"{salt}{one}".encode()).hexdigest())
    if ulang == "all":
        return order
    chosen: list[str] = []
    for one in order if ulang == "1" else []:
        budget -= max(1.0, claimed[one].seconds)
        if chosen and budget < 0:
            break
        chosen.append(one)
    return chosen


def retrain(handin: package.Handin, studies: claims.Studies, boxed: bool) -> str:
    """Train one of the runs handed in, drawn by the hand-in's own digest, again: what came of it,
    in Indonesian.
    """
    keys = {
        path.split("/")[-2]
        for path in handin.files
        if path.endswith("/info.json") and "/runs/" in f"/{path}"
    }
    body = package.results(handin, "02_pelatihan")
    for key in sorted(
        keys, key=lambda one: hashlib.sha256((handin.digest + one).encode()).hexdigest()
    ):
        try:
            identity = claims.read_json(claims.content(handin, key, "config.json"))
            kept = claims.arrays(claims.content(handin, key, "predictions.npz") or b"")[
                "test_best"
            ].astype(np.float64)
            given = {
                k: tuple(v) if isinstance(v, list) else v for k, v in identity["config"].items()
            }
            config, study = TrainConfig(**given), studies.get(body["provenance"])
            if config.epochs > EPOCHS * study.preset.epochs or (config.own and not boxed):
                continue  # no student decides how long an instructor's computer works
            if (
                identity["data"] != study.used.fingerprint
                or identity["weights"] != study.weights.digest
            ):
                continue
            seconds = float(
                claims.read_json(claims.content(handin, key, "info.json")).get("seconds", 0)
            )
            emulated = config.precision == "bfloat16" and not runtime.native_bfloat16(
                torch.device("cpu")
            )
            if emulated:
                config, seconds = replace(config, precision="float32"), FASTER * seconds
            said = _again(
                config,
                int(identity["threads"] or 1),
                study,
                kept,
                min(max(LEAST, SLOWER * seconds), MOST),
                boxed,
            )
            instead = (
                " (dengan float32, karena prosesor ini tidak mengenal bfloat16)" if emulated else ""
            )
            return f"{key}{' (kode sendiri)' if config.own else ''}: {said}{instead}"
        except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
            return f"{key}: tidak dapat diulang ({type(error).__name__})"
    return "tidak dapat diulang: tidak ada pelatihan pada data itu dan dari bobot itu" + (
        "" if boxed else " tanpa kode sendiri"
    )


def _places(boxed: bool) -> tuple[dict[Path, str], dict[str, str]]:
    """({folder of ours: where the box shows it}, the environment that names them)."""
    cache = Path(
        os.environ.get("TORCH_HOME")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torch"
    )
    there = {files.data_folder().resolve(): "/tmp/data", cache: "/tmp/torch"}
    seen = dict(
        zip((files.DATA, "TORCH_HOME"), there.values() if boxed else map(str, there), strict=True)
    )
    return there, seen


def _again(
    config: TrainConfig, threads: int, study: Study, kept: np.ndarray, seconds: float, boxed: bool
) -> str:
    source = study.used.source
    kind = source.kind if source.kind in ("phantom", "chestmnist") else source.flag
    settings = {
        "data": kind,
        "weights": study.weights.kind,
        "preset": study.preset.name,
        "device": "cpu",
        "size": source.size,
    }
    settings |= {"classes": ",".join(study.used.classes), "precision": config.precision}
    given = {
        "study": settings,
        "threads": min(max(threads, 1), os.cpu_count() or 1),
        "config": asdict(config),
    }
    shown, named = _places(boxed)
    try:
        with box.Kernel(boxed, shown, named, CPU) as kernel:
            error, _ = kernel.run(TRAIN.format(given=json.dumps(given)), seconds)
            ask = f"__import__('nilai_dalam').ask({ASK.format(piece=PIECE)!r}, globals())"
            found = kernel.run("", box.START, ask)[1] if not error else None
    except box.Ended as ended:
        return f"tidak dapat diulang ({ended.status})"
    if error:
        return f"tidak dapat diulang ({error[:100]})"
    pieces = found.get("uji") if isinstance(found, dict) else None
    try:
        logits = np.array([value for piece in pieces for value in piece], dtype=np.float64)
    except (TypeError, ValueError):
        logits = np.empty(0)
    if logits.shape != kept.shape or not np.isfinite(logits).all():
        return "TIDAK COCOK, pelatihan itu tidak memberi prediksi yang dapat dibandingkan"
    return agreement(logits, kept, study)


def agreement(logits: np.ndarray, kept: np.ndarray, study: Study) -> str:
    """How predictions of a training done again stand to those handed in, both (N,)."""
    if np.array_equal(logits, kept):
        return "sama bit demi bit"
    auc = [
        float(evaluation.area_under_curve(one, study.used.test.labels)) for one in (logits, kept)
    ]
    spread = (
        _spread() if study.preset.train is None and study.used.source.kind == "phantom" else None
    )
    if spread is None:
        shown = " dan ".join(indonesian.number(value, 4) for value in auc)
        return f"berbeda (AUC uji {shown}); sebaran antarseed untuk ukuran ini tidak diketahui"
    return (
        "dalam sebaran antarseed"
        if abs(auc[0] - auc[1]) <= spread
        else "TIDAK COCOK, di luar sebaran antarseed"
    )


def _spread() -> float | None:
    """How far two seeds of the reference study's baseline lie apart in AUC, at 95%."""
    each = next(
        (row["each"]["auc"] for row in reference.read()["variants"] if row["name"] == "baseline"),
        (),
    )
    auc = np.array(list(each))
    return (
        float(t.ppf(0.975, len(auc) - 1) * auc.std(ddof=1) * np.sqrt(2)) if len(auc) > 2 else None
    )
