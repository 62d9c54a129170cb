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

from cxr_helpers import evaluation, remedies
from cxr_helpers.engine import files, indonesian, runtime
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from grading import box, claims, package

EPOCHS = 5  # a run of more than so many times the preset's epochs is not done again
# seconds: times those of the student's own file, within these bounds
SLOWER, LEAST, MOST = 4, 300, 1800
CPU = 4 * MOST
FASTER = 2  # times, bfloat16 than float32; emulated it would be ten times slower than float32
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
logits = training.fit(config, study.used, study.weights, "cpu").logits["test_best"]
"""
ASK = "hasil['uji'] = lambda: [logits[i : i + {piece}] for i in range(0, len(logits), {piece})]"


def drawn(
    claimed: dict[str, claims.Claim], ulang: str, salt: str, budget: float = 3600
) -> list[str]:
    """Whose training is done again: nobody's ("0"), all ("all"), or an hour's worth ("1")."""
    checked = ("cocok", "tidak cocok")
    able = [who for who, claim in claimed.items() if claim.status in checked and claim.key]
    order = sorted(able, key=lambda who: hashlib.sha256(f"{salt}{who}".encode()).hexdigest())
    if ulang == "all":
        return order
    chosen: list[str] = []
    for student in order if ulang == "1" else []:
        budget -= max(1.0, claimed[student].seconds)
        if chosen and budget < 0:
            break
        chosen.append(student)
    return chosen


def retrain(handin: package.Handin, studies: claims.Studies, boxed: bool) -> str:
    """Train one run of the hand-in again, drawn by its digest: what came of it, in Indonesian."""
    paths = [path.split("/") for path in handin.files]
    keys = {parts[-2] for parts in paths if parts[-1] == "info.json" and "runs" in parts[:-2]}
    order = {hashlib.sha256((handin.digest + key).encode()).digest(): key for key in keys}
    for _, key in sorted(order.items()):
        try:
            if said := _of_key(handin, key, studies, boxed):
                return f"{key}{said}"
        except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
            return f"{key}: tidak dapat diulang ({type(error).__name__})"
    without = "" if boxed else " tanpa kode sendiri"
    return f"tidak dapat diulang: tidak ada pelatihan pada data itu dan dari bobot itu{without}"


def _of_key(handin: package.Handin, key: str, studies: claims.Studies, boxed: bool) -> str | None:
    """What came of the run `key`; None where it is not one that may be trained again."""
    identity = package.read_json(claims.content(handin, key, "config.json")) or {}
    kept = claims.predictions(handin, key)
    body = package.results(handin, "02_pelatihan")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in identity["config"].items()}
    config, study = TrainConfig(**given), studies.get(body["provenance"])
    if config.epochs > EPOCHS * study.preset.epochs or (config.own and not boxed):
        return None  # no student decides how long an instructor's computer works
    ours = (study.used.fingerprint, study.weights.digest)
    if (identity["data"], identity["weights"]) != ours:
        return None
    info = package.read_json(claims.content(handin, key, "info.json")) or {}
    seconds, said = float(info.get("seconds", 0)), " (kode sendiri): " if config.own else ": "
    instead = ""
    if config.precision == "bfloat16" and not runtime.native_bfloat16(torch.device("cpu")):
        config, seconds = replace(config, precision="float32"), FASTER * seconds
        instead = " (dengan float32, karena prosesor ini tidak mengenal bfloat16)"
    limit = min(max(LEAST, SLOWER * seconds), MOST)
    return said + _again(config, int(identity["threads"] or 1), study, kept, limit, boxed) + instead


def _places(boxed: bool) -> tuple[dict[Path, str], dict[str, str]]:
    """({folder of ours: where the box shows it}, the environment that names them)."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    torch_home = Path(os.environ.get("TORCH_HOME") or caches / "torch")
    shown = {files.data_folder().resolve(): "/tmp/data", torch_home: "/tmp/torch"}
    data, weights = shown.values() if boxed else map(str, shown)
    return shown, {files.DATA: data, "TORCH_HOME": weights}


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
        "classes": ",".join(study.used.classes),
        "precision": config.precision,
    }
    threads = min(max(threads, 1), os.cpu_count() or 1)
    given = {"study": settings, "threads": threads, "config": asdict(config)}
    shown, named = _places(boxed)
    try:
        with box.Kernel(boxed, shown, named, CPU) as kernel:
            error, _ = kernel.run(TRAIN.format(given=json.dumps(given)), seconds)
            ask = f"__import__('nilai_dalam').ask({ASK.format(piece=PIECE)!r}, globals())"
            answer = kernel.run("", box.START, ask)[1] if not error else None
    except box.Ended as ended:
        return f"tidak dapat diulang ({ended.status})"
    if error:
        return f"tidak dapat diulang ({error[:100]})"
    pieces = answer.get("uji") if isinstance(answer, dict) else None
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
    labels = study.used.test.labels
    auc = [float(evaluation.area_under_curve(given, labels)) for given in (logits, kept)]
    like_reference = study.preset.train is None and study.used.source.kind == "phantom"
    spread = _spread() if like_reference else None
    if spread is None:
        shown = " dan ".join(indonesian.number(value, 4) for value in auc)
        return f"berbeda (AUC uji {shown}); sebaran antarseed untuk ukuran ini tidak diketahui"
    if abs(auc[0] - auc[1]) <= spread:
        return "dalam sebaran antarseed"
    return "TIDAK COCOK, di luar sebaran antarseed"


def _spread() -> float | None:
    """How far two seeds of the reference study's baseline lie apart in AUC, at 95%."""
    variants = {row["name"]: row for row in remedies.read_reference()["variants"]}
    auc = np.array(variants["baseline"]["each"]["auc"] if "baseline" in variants else [])
    if len(auc) <= 2:
        return None
    return float(t.ppf(0.975, len(auc) - 1) * auc.std(ddof=1) * np.sqrt(2))
