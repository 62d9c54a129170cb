"""Claimed runs trained again (ULANG), in the box, which sees our data and weights besides: notebook
02's run and one of another row, drawn with a salt that no student knows.
"""

import hashlib
import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t

from cxr_helpers import evaluation
from cxr_helpers.engine import files, indonesian
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import Study
from grading import box, claims, package

MOST = 1800  # seconds of a training, whatever a student's own file says
HOUR = 3600  # of all trainings of a class, with ULANG=1
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


def salt(folder: Path) -> str:
    """What the draws of a class hang on, made once and kept in its folder."""
    path = folder / "garam"
    if not path.exists():
        files.write(path, secrets.token_hex(16).encode())
    return path.read_text()


def order(salt: str, names) -> list[str]:
    """Names in the order of a draw."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}{name}".encode()).digest())


def retrain(
    handin: package.Handin,
    claim: claims.Claim,
    recipe: list[float],
    studies: claims.Studies,
    drawn_by: str,
) -> str:
    """What came of it, in Indonesian. recipe: AUCs for rows that the reference study lacks."""
    others, said = order(drawn_by, claim.trained.keys() - {claim.key}), []
    for key in [claim.key, *others[:1]]:
        row = claim.trained[key]
        try:
            study = studies.get(package.results(handin, "02_pelatihan")["provenance"])
            kept = claims.run_of(handin, key, study).test["best"]
            logits = _again(claims.identity(handin, key), study)
            usual = claims.usual(study, row) or recipe
            came = agreement(logits, kept, study.used.test.labels, usual)
        except (InputError, *claims.ODD) as error:
            why = str(error)[:150] if isinstance(error, InputError) else type(error).__name__
            came = f"tidak diperiksa ({why})"
        said.append(f"{row} ({key}): {came}")
    return "; ".join(said)


def _again(identity: dict, study: Study) -> np.ndarray:
    """Predictions (N,) of a run trained again. Raises InputError and any of claims.ODD."""
    if identity["weights"] != study.weights.digest:
        raise InputError("bobot awalnya lain")
    config, source = claims.config_of(identity), study.used.source
    settings = {
        "data": source.kind if source.kind in ("phantom", "chestmnist") else source.flag,
        "weights": study.weights.kind,
        "preset": study.preset.name,
        "device": "cpu",
        "size": source.size,
        "classes": ",".join(study.used.classes),
        "precision": config.precision,
    }
    threads = min(max(int(identity["threads"] or 1), 1), os.cpu_count() or 1)
    given = {"study": settings, "threads": threads, "config": asdict(config)}
    torch_home = Path(torch.hub.get_dir()).parent
    shown = {files.data_folder().resolve(): "/tmp/data", torch_home: "/tmp/torch"}
    named = dict(zip((files.DATA, "TORCH_HOME"), shown.values(), strict=True))
    try:
        with box.Kernel(True, shown, named, cpu=4 * MOST) as kernel:
            train, asked = TRAIN.format(given=json.dumps(given)), ASK.format(piece=PIECE)
            error, answer = kernel.run(train, MOST * threads, asked)
    except box.Ended as ended:
        longer = f"lebih lama daripada {MOST // 60} menit di komputer ini"
        raise InputError(longer if ended.status == "waktu habis" else ended.status) from None
    if error:
        raise InputError(error)
    try:
        return np.concatenate(answer["uji"]).astype(np.float32)
    except (LookupError, TypeError, ValueError):
        return np.empty(0)


def agreement(logits: np.ndarray, kept: np.ndarray, labels: np.ndarray, usual: list[float]) -> str:
    """How predictions (N,) of two trainings stand: equal, or as two seeds (AUCs: usual), at 95%."""
    if logits.shape != kept.shape or not np.isfinite(logits).all():
        return "TIDAK COCOK, pelatihan itu tidak memberi prediksi yang dapat dibandingkan"
    if np.array_equal(logits, kept):
        return "sama bit demi bit"
    auc = [float(evaluation.area_under_curve(given, labels)) for given in (logits, kept)]
    if len(usual) < claims.FEWEST:
        shown = " dan ".join(indonesian.number(value, 4) for value in auc)
        return f"berbeda (AUC uji {shown}); sebaran antarseed-nya tidak diketahui"
    half = t.ppf(0.975, len(usual) - 1) * np.std(usual, ddof=1) * np.sqrt(2)
    within = abs(auc[0] - auc[1]) <= half
    return "dalam selang prediksi" if within else "TIDAK COCOK, di luar selang prediksi"
