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

from cxr_helpers import comparison, remedies
from cxr_helpers.comparison import LEAST_SEEDS, SIGNIFICANCE, Difference, Fitted
from cxr_helpers.engine.indonesian import number, percent
from cxr_helpers.setup import open_setup
from cxr_helpers.verdicts import CHANCE, Images, Row
from report import reference

SIZES = (3, 5)  # seeds a group
DIFFERENCES = (0.005, 0.01, 0.02, 0.03, 0.05)
DRAWS = 400  # of seeds for each point of the power curve
Compare = Callable[[list[int], list[int]], Difference]  # two groups of seeds, by their places


def groups(n: int, size: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every pair of disjoint groups of `size` out of n."""
    pairs = []
    for ours in itertools.combinations(range(n), size):
        others = [one for one in range(n) if one not in ours]
        pairs += [
            (ours, theirs) for theirs in itertools.combinations(others, size) if ours < theirs
        ]
    return pairs


def null_rate(compare: Compare, seeds: int, size: int) -> tuple[float, int]:
    """Share of the splits of the seeds into two groups that come out as different, and their
    number; 2 · size seeds at least.
    """
    pairs = groups(seeds, size)
    found = sum(compare(list(ours), list(theirs)).p < SIGNIFICANCE for ours, theirs in pairs)
    return found / len(pairs), len(pairs)


def in_auc(values: np.ndarray, influences: np.ndarray, patients: np.ndarray | None) -> Compare:
    """Compare two groups of seeds by their AUC: values (seeds,), influences (seeds, N)."""

    def compare(ours: list[int], theirs: list[int]) -> Difference:
        apart = influences[ours].mean(axis=0) - influences[theirs].mean(axis=0)
        return comparison.combine(
            values[ours], values[theirs], comparison.image_variance(apart, patients)
        )

    return compare


def in_gap(fitted: Fitted) -> Compare:
    """Compare two groups of seeds by the gap between training and validation accuracy."""

    def part(seeds: list[int]) -> Fitted:
        return replace(fitted, train=fitted.train[seeds], val=fitted.val[seeds])

    return lambda ours, theirs: comparison.gap_difference(part(ours), part(theirs))


def power(
    values: np.ndarray,
    influences: np.ndarray,
    patients: np.ndarray | None,
    seeds: int,
    difference: float,
) -> float:
    """Share of studies with this many seeds a recipe that see a true difference; seeds are drawn as
    this recipe's spread.
    """
    generator, sd = np.random.default_rng(0), values.std(ddof=1)
    pairs = itertools.combinations(influences, 2)
    variance = (
        np.mean([comparison.image_variance(one - other, patients) for one, other in pairs]) / seeds
    )
    seen = 0
    for _ in range(DRAWS):
        ours, theirs = generator.normal(difference, sd, seeds), generator.normal(0, sd, seeds)
        seen += (
            comparison.combine(ours + generator.normal(0, np.sqrt(variance)), theirs, variance).p
            < SIGNIFICANCE
        )
    return seen / DRAWS


def show(row: Row, images: Images) -> float | None:
    """Print the null rates and the power curves of a row; the highest null rate, None where the
    seeds make no two groups.
    """
    labels, patients, _ = images.judging()
    n_test, rates, curves = len(images.labels["test"]), [], []

    def splits(compare: Compare, question: str) -> None:
        for size in (size for size in SIZES if 2 * size <= len(row.trained)):
            rate, pairs = null_rate(compare, len(row.trained), size)
            rates.append(rate)
            print(f"| {question} | {size} | {number(pairs, 0)} | {percent(rate)} |", flush=True)

    print("| Ukuran | Seed tiap kelompok | Pembagian | Dinyatakan berbeda |\n|:--|--:|--:|--:|")
    splits(in_gap(row.fitted(images)), "kesenjangan")
    for n in sorted({n_test, len(labels)}):
        each = [comparison.influence(logits[:n], labels[:n])["auc"] for logits in row.test()]
        values, influences = (
            np.array([value for value, _ in each]),
            np.array([one for _, one in each]),
        )
        who = None if patients is None else patients[:n]
        splits(in_auc(values, influences, who), f"AUC, {number(n, 0)} citra uji")
        for seeds in CHANCE:
            cells = [percent(power(values, influences, who, seeds, one), 0) for one in DIFFERENCES]
            curves.append(f"| {number(n, 0)} | {seeds} | {' | '.join(cells)} |")
    print(
        "\nPeluang melihat perbedaan AUC yang benar-benar ada\n"
        f"| Citra uji | Seed | {' | '.join(map(number, DIFFERENCES))} |"
    )
    print("|--:|--:|" + "--:|" * len(DIFFERENCES), *curves, sep="\n")
    return max(rates, default=None)


def main() -> int:
    study = open_setup(
        data="phantom", weights="random", preset="full", device="cpu", precision="float32"
    )
    data = reference.with_extra(study.used)
    found = reference.rows(reference.plan(study, data), [remedies.BASELINE.name])
    n = len(found[0].trained) if found else 0
    if n < LEAST_SEEDS:
        print(
            "Dilewati: "
            f"studi acuan belum mempunyai {LEAST_SEEDS} seed pembanding (`make reference`)."
        )
        return 0
    highest = show(found[0], Images.of(data))
    if n < reference.BASELINE_SEEDS:
        print(
            f"\nBaru {n} dari {reference.BASELINE_SEEDS} seed pembanding: "
            "angkanya dicetak, tetapi belum dinilai."
        )
        return 0
    print(
        f"\nSasaran: paling banyak {percent(SIGNIFICANCE, 0)} "
        f"{'tercapai' if highest <= SIGNIFICANCE else 'tidak tercapai'}."
    )
    return int(highest > SIGNIFICANCE)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
