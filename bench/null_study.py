"""How often a verdict is false, and what a study can see: `python -m bench.null_study`, from the
reference study's baseline.

Null: the seeds of one recipe are split into two groups, every way there is, and compared as if they
were two recipes; at most 5% may come out as a difference in AUC, on the test split alone and with
the extra images, or in the gap between training and validation accuracy. Power: to one group a true
difference in AUC is added; how often is it seen? Takes about a minute. With fewer than the ten
seeds that are planned (three at least) it shows what they can show and judges nothing; exit status
1 when a null rate of ten is above 5%.
"""

import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cxr_helpers import evaluation, remedies
from cxr_helpers.engine.indonesian import number, percent
from cxr_helpers.evaluation import LEAST_SEEDS, SIGNIFICANCE, Difference, Fitted
from cxr_helpers.remedies import CHANCE, Images, Row
from cxr_helpers.study import open_study
from report import reference

SIZES = (3, 5)  # seeds a group
DIFFERENCES = (0.005, 0.01, 0.02, 0.03, 0.05)
DRAWS = 400  # of seeds for each point of the power curve
Compare = Callable[[list[int], list[int]], Difference]  # two groups of seeds, by their places


def null_rate(compare: Compare, seeds: int, size: int) -> tuple[float, int]:
    """Share of the splits of the seeds into two groups that come out as different, and their
    number; 2 · size seeds at least.
    """
    groups = map(list, itertools.combinations(range(seeds), size))
    pairs = [(a, b) for a, b in itertools.combinations(groups, 2) if not set(a) & set(b)]
    return sum(compare(a, b).p < SIGNIFICANCE for a, b in pairs) / len(pairs), len(pairs)


def in_auc(values: np.ndarray, influences: np.ndarray, patients: np.ndarray | None) -> Compare:
    """Compare two groups of seeds by their AUC: values (seeds,), influences (seeds, N)."""

    def compare(ours: list[int], theirs: list[int]) -> Difference:
        apart = influences[ours].mean(axis=0) - influences[theirs].mean(axis=0)
        variance = evaluation.image_variance(apart, patients)
        return evaluation.combine(values[ours], values[theirs], variance)

    return compare


def in_gap(fitted: Fitted) -> Compare:
    """Compare two groups of seeds by the gap between training and validation accuracy."""

    def part(seeds: list[int]) -> Fitted:
        return replace(fitted, train=fitted.train[seeds], val=fitted.val[seeds])

    return lambda ours, theirs: evaluation.gap_difference(part(ours), part(theirs))


def power(values: np.ndarray, variance: float, seeds: int, difference: float) -> float:
    """Share of studies with this many seeds a recipe that see a true difference; seeds are drawn as
    this recipe's spread. variance: of the difference of two seeds, between images.
    """
    generator, sd = np.random.default_rng(0), values.std(ddof=1)
    variance, seen = variance / seeds, 0
    for _ in range(DRAWS):
        ours, theirs = generator.normal(difference, sd, seeds), generator.normal(0, sd, seeds)
        ours += generator.normal(0, np.sqrt(variance))
        seen += evaluation.combine(ours, theirs, variance).p < SIGNIFICANCE
    return seen / DRAWS


def show(row: Row, images: Images) -> float | None:
    """Print the null rates and the power curves of a row; the highest null rate, None where the
    seeds make no two groups.
    """
    labels, patients, _ = images.judging()
    rates, curves = [], []

    def splits(compare: Compare, question: str) -> None:
        for size in (size for size in SIZES if 2 * size <= len(row.trained)):
            rate, pairs = null_rate(compare, len(row.trained), size)
            rates.append(rate)
            print(f"| {question} | {size} | {number(pairs, 0)} | {percent(rate)} |", flush=True)

    print("| Ukuran | Seed tiap kelompok | Pembagian | Dinyatakan berbeda |\n|:--|--:|--:|--:|")
    splits(in_gap(row.fitted(images)), "kesenjangan")
    for n in sorted({len(images.labels["test"]), len(labels)}):
        aucs = [evaluation.influence(logits[:n], labels[:n])["auc"] for logits in row.test()]
        values, influences = map(np.array, zip(*aucs, strict=True))
        people = None if patients is None else patients[:n]
        splits(in_auc(values, influences, people), f"AUC, {number(n, 0)} citra uji")
        pairs = itertools.combinations(influences, 2)
        variance = np.mean([evaluation.image_variance(a - b, people) for a, b in pairs])
        for seeds in CHANCE:
            cells = [percent(power(values, variance, seeds, gap), 0) for gap in DIFFERENCES]
            curves.append(f"| {number(n, 0)} | {seeds} | {' | '.join(cells)} |")
    print("\nPeluang melihat perbedaan AUC yang benar-benar ada")
    print(f"| Citra uji | Seed | {' | '.join(map(number, DIFFERENCES))} |")
    print("|--:|--:|" + "--:|" * len(DIFFERENCES), *curves, sep="\n")
    return max(rates, default=None)


def main() -> int:
    study = open_study(
        data="phantom", weights="random", preset="full", device="cpu", precision="float32"
    )
    data = reference.with_extra(study.used)
    rows = reference.rows(reference.plan(study, data), [remedies.BASELINE.name])
    n = len(rows[0].trained) if rows else 0
    if n < LEAST_SEEDS:
        print(f"Dilewati: studi acuan belum mempunyai {LEAST_SEEDS} seed (`make reference`).")
        return 0
    highest, planned = show(rows[0], Images.of(data)), reference.BASELINE_SEEDS
    if n < planned:
        print(f"\nBaru {n} dari {planned} seed pembanding: dicetak, tetapi belum dinilai.")
        return 0
    met = highest <= SIGNIFICANCE
    print(
        f"\nSasaran: paling banyak {percent(SIGNIFICANCE, 0)} "
        f"{'tercapai' if met else 'tidak tercapai'}."
    )
    return int(not met)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
