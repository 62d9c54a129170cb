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

import numpy as np

from cxr_helpers import evaluation, remedies
from cxr_helpers.data import Dataset
from cxr_helpers.engine.indonesian import number, percent
from cxr_helpers.evaluation import LEAST_SEEDS, SIGNIFICANCE, Measured
from cxr_helpers.remedies import Row
from cxr_helpers.study import open_study
from report import reference

SIZES = (3, 5)  # seeds a group
DIFFERENCES = (0.005, 0.01, 0.02, 0.03, 0.05)
DRAWS = 400  # of seeds for each point of the power curve


def of_seeds(recipe: Measured, seeds: list[int]) -> Measured:
    """The same metric of some of the seeds, by their places."""
    parts = tuple((influences[seeds], patients) for influences, patients in recipe.parts)
    return Measured(recipe.values[seeds], parts)


def null_rate(recipe: Measured, size: int) -> tuple[float, int]:
    """Share of the splits of the seeds into two groups that come out as different, and their
    number; 2 · size seeds at least.
    """
    groups = map(list, itertools.combinations(range(len(recipe.values)), size))
    pairs = [(a, b) for a, b in itertools.combinations(groups, 2) if not set(a) & set(b)]
    tested = [evaluation.difference(of_seeds(recipe, a), of_seeds(recipe, b)) for a, b in pairs]
    return sum(one.p < SIGNIFICANCE for one in tested) / len(pairs), len(pairs)


def power(recipe: Measured, seeds: int, difference: float) -> float:
    """Share of studies with this many seeds a recipe that see a true difference; seeds are drawn as
    this recipe's spread, and images as they tell two of its seeds apart.
    """
    generator, sd, seen = np.random.default_rng(0), recipe.values.std(ddof=1), 0
    influences, patients = recipe.parts[0]
    pairs = itertools.combinations(influences, 2)
    apart = np.mean([evaluation.image_variance(a - b, patients) for a, b in pairs]) / seeds
    one = influences[0] - influences[1]  # of all images, with the variance of the mean of the pairs
    one = one * np.sqrt(apart / evaluation.image_variance(one, patients))
    ours, theirs = (((np.tile(each, (seeds, 1)), patients),) for each in (one, 0 * one))
    for _ in range(DRAWS):
        better = generator.normal(difference, sd, seeds) + generator.normal(0, np.sqrt(apart))
        other = Measured(generator.normal(0, sd, seeds), theirs)
        seen += evaluation.difference(Measured(better, ours), other).p < SIGNIFICANCE
    return seen / DRAWS


def show(row: Row, data: Dataset) -> float | None:
    """Print the null rates and the power curves of a row; the highest null rate, None where the
    seeds make no two groups.
    """
    labels, patients = remedies.test_images(data)
    questions, curves, rates = {"kesenjangan": row.gap(data)}, [], []
    for n in sorted({len(data.test), len(labels)}):
        people = None if patients is None else patients[:n]
        logits = [one[:n] for one in row.test(data)]
        auc = evaluation.measured(logits, labels[:n], people)["auc"]
        questions[f"AUC, {number(n, 0)} citra uji"] = auc
        for seeds in reference.CHANCE:
            cells = [percent(power(auc, seeds, gap), 0) for gap in DIFFERENCES]
            curves.append(f"| {number(n, 0)} | {seeds} | {' | '.join(cells)} |")
    print("| Ukuran | Seed tiap kelompok | Pembagian | Dinyatakan berbeda |\n|:--|--:|--:|--:|")
    for question, recipe in questions.items():
        for size in (size for size in SIZES if 2 * size <= len(row.trained)):
            rate, pairs = null_rate(recipe, size)
            rates.append(rate)
            print(f"| {question} | {size} | {number(pairs, 0)} | {percent(rate)} |", flush=True)
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
    highest, planned = show(rows[0], data), reference.BASELINE_SEEDS
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
