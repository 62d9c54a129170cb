"""Does bfloat16 train networks as good as float32? `python -m bench.precision [--train]`, on the reference study's phantom.

float32: the kept trainings of the reference study (`make reference`). bfloat16: the same recipe and seeds, full size, in
bench/bfloat16/; `--train` trains what is not there, N_JOBS at a time, and can be stopped and called again. Equivalent are two
precisions whose mean test AUC differs by less than a margin set in advance, ±0.02 for the course's recipe (ten seeds, which
spread) and ±0.01 for the combination (five): two one-sided tests at 5% (Schuirmann 1987), whose variance counts images and seeds.
Until both are shown, PRECISION=auto means float32 (setup.pick_precision). Exit status 0: an open question misses no target.

November 2026, PyTorch 2.15, float32 on AMD EPYC, bfloat16 on an Intel Xeon (amx_bf16): the course's recipe is equivalent, mean
test AUC -0.0025 (90% CI -0.0122 to 0.0071, p = 0.003); the combination waits for the reference study.
"""

import argparse
import os
import sys
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t

from cxr_helpers import comparison, reference
from cxr_helpers.comparison import LEAST_SEEDS, SIGNIFICANCE, Difference
from cxr_helpers.engine import files, indonesian, settings
from cxr_helpers.setup import open_setup
from cxr_helpers.verdicts import Images, Row
from report import reference as computing
from report.reference import Planned

FOLDER = files.ROOT / "bench" / "bfloat16"
MARGINS = {"baseline": 0.02, "combination": 0.01}  # of the mean test AUC
SEEDS = {"baseline": computing.BASELINE_SEEDS, "combination": computing.SEEDS}


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of a difference: its 90% interval, the larger p, and whether the interval lies within ±margin."""

    value: float
    ci90: tuple[float, float]
    p: float
    shown: bool


def equivalent(difference: Difference, margin: float) -> Equivalence:
    """Whether a difference that counts seeds is shown to lie within ±margin (Schuirmann 1987)."""
    se, df = np.hypot(difference.se_images, difference.se_seeds), difference.df or np.inf
    half = t.ppf(1 - SIGNIFICANCE, df) * se
    p = float(t.sf((margin - abs(difference.value)) / max(se, 1e-300), df))
    ci = (float(difference.value - half), float(difference.value + half))
    return Equivalence(difference.value, ci, p, p < SIGNIFICANCE)


def compare(bfloat16: Row, float32: Row, images: Images) -> Difference:
    """Mean test AUC in bfloat16 minus that in float32, over the seeds of either."""
    labels, patients, _ = images.judging()
    return comparison.differences(bfloat16.test(), float32.test(), labels, patients)["auc"]


def in_bfloat16(planned: list[Planned]) -> list[Planned]:
    """The same trainings in bfloat16, with files of their own."""
    return [replace(one, config=replace(one.config, precision="bfloat16"), folder=FOLDER) for one in planned]


def say(name: str, ours: Row | None, theirs: Row | None, images: Images) -> bool:
    """Print one line of the table; whether all seeds are there and the precisions are shown to be equivalent."""
    counts = [0 if row is None else len(row.trained) for row in (ours, theirs)]
    cells = f"| {name} | {counts[0]} dan {counts[1]} dari {SEEDS[name]} | ±{indonesian.number(MARGINS[name], 2)} |"
    if min(counts) < LEAST_SEEDS:
        print(f"{cells} – | – | – | seed belum cukup |", flush=True)
        return False
    found = equivalent(compare(ours, theirs, images), MARGINS[name])
    whole = min(counts) >= SEEDS[name]
    word = ("setara" if found.shown else "belum terbukti setara") + ("" if whole else " (sementara)")
    ci = indonesian.interval(found.ci90, 4, 1)
    print(f"{cells} {indonesian.signed(found.value, 4)} | {ci} | {indonesian.number(found.p)} | {word} |", flush=True)
    return whole and found.shown


def main() -> int:
    parser = argparse.ArgumentParser(description="Kesetaraan bfloat16 dan float32")
    parser.add_argument("--train", action="store_true", help="latih yang belum ada dengan bfloat16")
    train, n_jobs = parser.parse_args().train, settings.parse_jobs(os.environ.get("N_JOBS") or 1)[0]
    study = open_setup(data="phantom", weights="random", preset="full", precision="float32")
    data = computing.with_extra(study.used)
    plans = {"baseline": [one for one in computing.plan(study, data) if one.remedy.name == "baseline"]}
    chosen = reference.combination(reference.read())
    plans["combination"] = computing.plan_combination(study, data, chosen) if chosen else []
    print("| Baris | Seed bfloat16 dan float32 | Batas | Selisih AUC | IK 90% | p | Putusan |\n|:--|:--|--:|--:|:--|--:|:--|")
    shown = []
    for name, planned in plans.items():
        if train and planned:
            computing.train(in_bfloat16(planned), study, n_jobs, "", f"bfloat16, {planned[0].remedy.title}")
        ours, theirs = (next(iter(computing.rows(each, [name])), None) for each in (in_bfloat16(planned), planned))
        shown.append(say(name, ours, theirs, Images.of(data)))
    print(
        "\nKesetaraan terbukti pada kedua baris: PRECISION=auto boleh memakai bfloat16."
        if all(shown)
        else "\nKesetaraan belum terbukti pada kedua baris: PRECISION=auto tetap float32."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
