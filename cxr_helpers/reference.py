"""The reference study: every remedy at full size under several seeds, on the phantom, shipped with
the package (notebook 04).

One seed cannot tell a remedy from its luck, and a laptop has no time for more. So the study was
done once: `make reference` (report/reference.py) trained it, and notebooks/reference/ holds what it
predicted and what remedies.judge says of that. Here it is read, and a reader's own rows are placed
in it.
"""

import json
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from cxr_helpers import comparison, evaluation, overfitting, verdicts
from cxr_helpers import data as datasets
from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.remedies import BASELINE, RECOMMENDED
from cxr_helpers.setup import Setup
from cxr_helpers.verdicts import Combination, Images, Row, Trained

FOLDER = files.REFERENCE
TRAININGS = FOLDER / "trainings"
BFLOAT16 = FOLDER / "bfloat16"  # its recipe and combination in bfloat16
EXACT = ("val", "val_last", "test")  # kept in float32; the many other logits in float16
ROUNDING = 1e-6  # the same predictions in another order of sums
PLACED = ("auc", "gap")  # what is said of a reader's row


def read(folder: Path = FOLDER) -> dict:
    """What notebooks/reference/results.json holds: "variants" as of remedies.judge, each with
    "each", and its provenance.

    Raises InputError where it is missing or damaged.
    """
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"Studi acuan di {folder} tidak ada atau rusak: "
            "ambil lagi folder itu dari repositori, atau jalankan `make reference`."
        ) from None


def load(path: Path) -> tuple[dict, dict[str, np.ndarray]] | None:
    """(about, arrays) of a training's file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        return json.loads(arrays.pop("about").tobytes()), arrays
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def trained(about: dict, arrays: dict[str, np.ndarray]) -> Trained:
    """What a judgement needs of a training's file, as `load` gives it."""
    known = ("history", "seconds", "parameters", "trained_parameters")
    logits = {name: arrays[name].astype(np.float32) for name in (*EXACT, "train", "extra")}
    return Trained(seed=about["config"]["seed"], **logits, **{name: about[name] for name in known})


def baseline(study: Setup, folder: Path = FOLDER) -> Row | None:
    """The reference study's seeds of the recipe in this study's precision as a row, judged on the
    test split alone; None where that study is not about this one's images, length or start.
    """
    known = read(folder)["provenance"]
    same = (known["data"].get("without_extra"), "random") == (
        study.used.fingerprint,
        study.weights.kind,
    )
    there = BFLOAT16 if study.precision == "bfloat16" else folder / "trainings"
    kept = (
        [found for path in sorted(there.glob("baseline-s*.npz")) if (found := load(path))]
        if same
        else []
    )
    each = [
        replace(trained(*one), extra=None)
        for one in kept
        if one[0]["config"]["epochs"] == study.preset.epochs
    ]
    if not each:
        return None
    each.sort(key=lambda one: one.seed)
    return Row(BASELINE, each, {}, len(study.used.train), study.preset.epochs)


def learning_curve(study: Setup, folder: Path = FOLDER) -> list[dict] | None:
    """The reference study's learning curve (overfitting.learning_curve), in float32, over the seeds
    that every size of it has.

    None where that study is not about this one's images, length or start, or has not trained every
    size yet.
    """
    whole, points = study.used, []
    base = baseline(replace(study, precision="float32"), folder)
    if base is None:
        return None
    for part in overfitting.PARTS:
        n = round(part * len(whole.train))
        kept = [
            found
            for path in sorted((folder / "trainings").glob(f"part{n}-s*.npz"))
            if (found := load(path))
        ]
        data = datasets.with_splits(whole, train=datasets.subset(whole.train, n, 0))
        points.append((data, {one.seed: one for one in (trained(*each) for each in kept)}))
    points.append((whole, {one.seed: one for one in base.trained}))
    seeds = sorted(set.intersection(*(set(each) for _, each in points)))
    return (
        overfitting.curve(
            [(data, [_as_run(each[seed]) for seed in seeds]) for data, each in points]
        )
        if seeds
        else None
    )


def _as_run(one: Trained) -> SimpleNamespace:
    """What a measurement of notebook 03 reads of a run, from a kept training that is judged after
    its last epoch.
    """
    return SimpleNamespace(
        logits={"train_last": one.train, "val_last": one.val_last}, history=one.history
    )


def combination(reference: dict) -> Combination | None:
    """The combination that the reference study's validation chose."""
    found = reference["combination"]
    if found is None:
        return None
    known = {one.name: found[one.name] for one in fields(Combination)}
    known["changes"] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in known["changes"].items()
    }
    return Combination(**known | {"parts": tuple(found["parts"])})


def each_seed(row: Row, images: Images) -> dict[str, list[float]]:
    """AUC on the test split alone and gap between training and validation accuracy of each seed:
    what a single training shows.
    """
    labels = images.labels["test"]
    return {
        "auc": [float(evaluation.area_under_curve(one.test, labels)) for one in row.trained],
        "gap": [float(gap) for gap in row.fitted(images).gaps()],
    }


def place(rows: list[dict], reference: dict) -> list[dict]:
    """Where a reader's rows (of remedies.judge, baseline first) fall among the reference's seeds,
    by name.

    One dict a row that the reference knows (the combination: the very same one): row and place
    (indices), seeds (of the reference: without those that the reader took too, for a training
    repeated falls where it fell before), and for each of PLACED value, lowest, highest, and where
    ("below", "within", "above" these seeds; the last three None where no seed is left). For all but
    the baseline also shown: "above", "below" or "across", the side of zero of the reader's own
    interval of the difference in AUC; verdict, the reference's; and `_alone`.
    """
    known = {row["name"]: i for i, row in enumerate(reference["variants"])}
    found = []
    for i, row in enumerate(rows):
        if (
            row["name"] not in known
            or row["parts"] != reference["variants"][known[row["name"]]]["parts"]
        ):
            continue
        theirs = reference["variants"][known[row["name"]]]
        others = [k for k, seed in enumerate(theirs["seeds"]) if seed not in row["seeds"]]
        placed = {"row": i, "place": known[row["name"]], "seeds": len(others)}
        for name, value in (("auc", row["test"]["auc"]["value"]), ("gap", row["gap"]["value"])):
            placed[name] = {
                "value": value,
                **_where(value, [theirs["each"][name][k] for k in others]),
            }
        shown = (
            None if row["difference"] is None else evaluation.side(row["difference"]["auc"]["ci95"])
        )
        found.append(
            placed
            | {
                "shown": shown,
                "verdict": theirs["verdict"],
                "alone": _alone(shown, theirs["verdict"]),
            }
        )
    return found


def _where(value: float, seeds: list[float]) -> dict:
    if not seeds:
        return dict.fromkeys(("lowest", "highest", "where"))
    low, high = min(seeds), max(seeds)
    where = "below" if value < low - ROUNDING else "above" if value > high + ROUNDING else "within"
    return {"lowest": low, "highest": high, "where": where}


def _alone(shown: str | None, verdict: str) -> str | None:
    """What a reader would have made of an interval on this side of zero alone (None: the
    baseline's), by the verdict of several seeds: "misleads" (a difference that the verdict does not
    confirm, or the contrary of it), "misses" (none, though the verdict found one), or None. A
    network that guesses the majority looks worse, and rightly.
    """
    confirmed = {"above": (comparison.BETTER,), "below": (comparison.WORSE, comparison.MAJORITY)}
    if shown in confirmed:
        return None if verdict in confirmed[shown] else "misleads"
    return "misses" if shown and verdict in (comparison.BETTER, comparison.WORSE) else None


def spread(reference: dict) -> dict:
    """What two trainings of the baseline differ by: "sd" and "range" of the test split's AUC over
    its seeds, "n" of them.
    """
    each = np.array(reference["variants"][0]["each"]["auc"])
    return {
        "n": len(each),
        "sd": float(each.std(ddof=1)) if len(each) > 1 else None,
        "range": float(np.ptp(each)),
    }


def beside(rows: list[dict], reference: dict, kind: str, own: dict | None = None) -> dict:
    """What notebook 04 hands on beside a reader's rows: whose rows are judged, and where the
    reader's fall.

    shown: the rows of the table, with "source" and "summary" of verdicts.summarise: the reader's
    ("own") where they trained every remedy, and on the phantom (kind), which the reference is
    about, with seeds enough for a verdict; else the reference's. With them "ensemble", "detectable"
    and "cross_validation" (own: remedies.beside, None unless every remedy was trained), and
    "folds_source": folds that the reader trained are shown in any case. margin: comparison.MARGIN;
    reference: its provenance; background: the reference's summary beside own rows of other data;
    repeated: `place`, empty on other data; precisions: bfloat16 beside float32 (report.reference);
    numbers: of the recommendations in the course's order.
    """
    enough = (
        kind != "phantom"
        or min((len(row["seeds"]) for row in rows), default=0) >= comparison.LEAST_SEEDS
    )
    mine = own is not None and enough
    shown = rows if mine else reference["variants"]
    folds = own if own else reference
    return {
        "shown": shown,
        "source": "own" if mine else "reference",
        "summary": verdicts.summarise(shown),
        "numbers": {name: place for place, name in enumerate(RECOMMENDED, start=1)},
        "margin": comparison.MARGIN,
        **{name: (own if mine else reference)[name] for name in ("ensemble", "detectable")},
        "cross_validation": folds["cross_validation"],
        "folds_source": "own" if own else "reference",
        "reference": reference["provenance"],
        "background": verdicts.summarise(reference["variants"])
        if mine and kind != "phantom"
        else None,
        "precisions": reference.get("precisions", []),
        "spread": spread(reference),
        "repeated": place(rows, reference) if kind == "phantom" else [],
    }
