"""What the report's intervals and verdicts are worth: `python -m bench.null_study` (some minutes;
`--times 10` simulates ten times as many studies).

By simulation, with its own error (two standard errors): how often a 95% interval of each kind holds
the truth (93% at least), how often two equal recipes are told apart (level), how often what a plan
promises in 80% is shown (power). Images come from patients, networks from seeds, which spread as
the reference study's (AUC .897 ± .0133). And on that study's own seeds, split into two groups every
way there is: how often these differ, as of two recipes. Exit status 1 where one of these is missed.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from cxr_helpers import evaluation, remedies
from cxr_helpers.data import Dataset
from cxr_helpers.engine.indonesian import number, percent
from cxr_helpers.evaluation import LEAST_SEEDS, SIGNIFICANCE, Measured, estimate, of_images, right
from cxr_helpers.study import open_study
from report import reference

STRENGTH, TRAINED, SEED_SD = 0.8945, 1.9, 0.0525  # of the score: test, training images, seeds
# The score's variance: of a patient, of a recipe on a patient, of an image, of a training.
SHARES = (0.35, 0.15, 0.25, 0.25)
SEEDS = ((3, 3), (3, 10), (5, 10), (10, 10))  # of two recipes
# (test images, spread of the seeds in units of SEED_SD, studies that are simulated)
DESIGNS = ((682, 0.1, 100), (682, 1.0, 100), (682, 2.0, 100), (6682, 1.0, 40))
HARD = (120, float(norm.ppf(0.97) / np.sqrt(2)))  # few images, of an AUC of .97
MANY = 1_000_000  # images that stand for all there are
LEAST = 0.93
PLAN = "rencana: "  # before the kinds that are shown in POWER of all cases
SPLITS = (3, 5)  # seeds a group
SPLIT_STUDIES = 20  # that are simulated for the spread of a split's rate


# --- simulated studies ----------------------------------------------------------------------------


class Images:
    """Labels and scores of images of patients, who have one to 20 images, 2.1 on average."""

    def __init__(self, generator: np.random.Generator, n: int):
        sizes = generator.choice([1, 2, 3, 6, 20], n, p=[0.66, 0.16, 0.09, 0.07, 0.02])
        self.generator, self.n = generator, n
        self.patients = np.repeat(np.arange(n), sizes)[:n]
        self.labels = (generator.random(n) < 0.64)[self.patients].astype(int)
        self.shared = self._of_patients(SHARES[0]) + generator.normal(0, SHARES[2] ** 0.5, n)

    def _of_patients(self, variance: float) -> np.ndarray:
        return self.generator.normal(0, variance**0.5, self.n)[self.patients]

    def networks(self, strengths: np.ndarray) -> list[np.ndarray]:
        """Logits of trainings of one recipe that tell the classes apart by these strengths."""
        own = self.shared + self._of_patients(SHARES[1])
        noise = self.generator.normal(0, SHARES[3] ** 0.5, (len(strengths), self.n))
        return list((2 * self.labels - 1) * strengths[:, None] + own + noise)


def accuracy(strength: float, spread: float = 0.0) -> float:
    """True accuracy of networks whose strength spreads so over the seeds."""
    return float(norm.cdf(strength / np.sqrt(1 + spread**2)))


def auc(strength: float, spread: float = 0.0, averaged: int = 1) -> float:
    """True AUC, also of the mean of so many networks."""
    variance = 1 - SHARES[3] + (SHARES[3] + 2 * spread**2) / averaged
    return float(norm.cdf(np.sqrt(2) * strength / np.sqrt(variance)))


def truths(generator: np.random.Generator, strength: float, spread: float = 0.0) -> dict:
    """True accuracy and AUC, and what only many images tell."""
    images = Images(generator, MANY)
    (logits,) = images.networks(np.array([strength]))
    logits += (2 * images.labels - 1) * generator.normal(0, spread, MANY)
    values = evaluation.influence(logits, images.labels)
    of_many = {name: values[name][0] for name in ("brier", "overconfidence")}
    of_many["loss"] = evaluation.loss(logits, images.labels).mean()
    return of_many | {"acc": accuracy(strength, spread), "auc": auc(strength, spread)}


NAMES = {"acc": "akurasi", "auc": "AUC", "brier": "Brier", "overconfidence": "keyakinan berlebih"}


def one_training(
    generator: np.random.Generator, n: int, strength: float, truth: dict
) -> Iterator[tuple]:
    """(kind of interval, the interval, the truth, no p) of one network and of two epochs of it."""
    images = Images(generator, n)
    (early,), (late,) = (images.networks(np.array([s])) for s in (strength, strength + 0.05))
    metrics = evaluation.metrics(early, images.labels, images.patients)
    for metric, name in NAMES.items():
        yield name, metrics[metric]["ci95"], truth[metric], None
    losses = of_images(evaluation.loss(early, images.labels), images.patients)
    yield "loss", estimate(losses)["ci95"], truth["loss"], None
    hits = right([early, late], images.labels)
    moved = evaluation.change(hits[1:] - hits[:1], images.patients)
    yield "perubahan akurasi", moved["ci95"], accuracy(strength + 0.05) - accuracy(strength), None
    half = images.patients % 2 == 0
    groups = [evaluation.share(hits[0][which], images.patients[which]) for which in (half, ~half)]
    yield "dua kelompok citra", evaluation.unpaired(*groups)["ci95"], 0.0, None


def gap(images: Images, training: Images, strengths: np.ndarray, test: list) -> Measured:
    """Training minus test accuracy of the networks whose test logits are given."""
    fitted = training.networks(strengths + TRAINED - STRENGTH)
    parts = ((fitted, training), (test, images))
    return evaluation.minus(*(of_images(right(g, i.labels), i.patients) for g, i in parts))


def two_recipes(
    generator: np.random.Generator, n: int, seeds: tuple[int, int], spread: float, truth: dict
) -> Iterator[tuple]:
    """(kind of interval, the interval, the truth, its p-value) of two recipes of equal strength."""
    images, training = Images(generator, n), Images(generator, 2306)
    strengths = [generator.normal(STRENGTH, spread, k) for k in seeds]
    logits = [images.networks(of_recipe) for of_recipe in strengths]
    ours, theirs = (evaluation.measured(nets, images.labels, images.patients) for nets in logits)
    for metric, name in NAMES.items():
        mean = estimate(ours[metric], evaluation.KINDS.get(metric, "share"))
        yield f"rerata {name}", mean["ci95"], truth[metric], None
    *before, following = theirs["auc"].values
    if len(before) >= LEAST_SEEDS:
        one_more = evaluation.prediction(Measured(np.array(before), ()))  # on the same images
        yield "seed berikutnya", one_more["ci95"], following, None
    apart = evaluation.difference(ours["auc"], theirs["auc"])
    yield "selisih AUC", apart["ci95"], 0.0, apart["p"]
    if seeds[1] == 10:  # of fewer the spread, and with it the plan, is known too badly
        own = reference.between(ours["auc"], theirs["auc"])
        plan = evaluation.plan(theirs["auc"], *seeds, between=own)
        equal = evaluation.verdict(apart, 1.0, plan["equal"]) == evaluation.EQUAL
        yield f"{PLAN}setara", apart["ci95"], 0.0, 1.0 - equal
        raised = norm.ppf(auc(STRENGTH, spread) + plan["seen"]) * np.sqrt(0.5 + spread**2)
        better = images.networks(generator.normal(raised, spread, seeds[0]))
        better = evaluation.measured(better, images.labels, images.patients)["auc"]
        apart = evaluation.difference(better, theirs["auc"])
        yield f"{PLAN}selisih terlihat", apart["ci95"], plan["seen"], apart["p"]
    losses = (evaluation.loss(np.stack(nets), images.labels) for nets in logits)
    apart = evaluation.difference(*(of_images(values, images.patients) for values in losses))
    yield "selisih loss", apart["ci95"], 0.0, apart["p"]
    gaps = [gap(images, training, *each) for each in zip(strengths, logits, strict=True)]
    true = accuracy(TRAINED, spread) - accuracy(STRENGTH, spread)
    yield "kesenjangan", estimate(gaps[0])["ci95"], true, None
    apart = evaluation.difference(*gaps)
    yield "selisih kesenjangan", apart["ci95"], 0.0, apart["p"]
    gain = evaluation.ensemble_difference(logits[0], images.labels, images.patients)
    yield "ansambel", gain["ci95"], auc(STRENGTH, spread, seeds[0]) - auc(STRENGTH, spread), None


def simulated(times: int) -> pd.DataFrame:
    """A line an interval of every simulated study: kind, design, whether it holds the truth, and
    whether it tells equals apart (NaN without p).
    """
    generator, lines = np.random.default_rng(0), []
    for n, strength in ((682, STRENGTH), HARD):
        truth = truths(generator, strength)
        for _ in range(300 * times):
            intervals = one_training(generator, n, strength, truth)
            lines += [(f"{n} citra, satu pelatihan", *interval) for interval in intervals]
    for n, spread, studies in DESIGNS:
        truth = truths(generator, STRENGTH, spread * SEED_SD)
        for seeds, _ in itertools.product(SEEDS, range(studies * times)):
            intervals = two_recipes(generator, n, seeds, spread * SEED_SD, truth)
            design = f"{n} citra, seed {seeds[0]} dan {seeds[1]}, ragam seed ×{number(spread, 1)}"
            lines += [(design, *interval) for interval in intervals]
    studies = pd.DataFrame(lines, columns=["design", "kind", "interval", "truth", "p"])
    low, high = np.array(studies["interval"].tolist()).T
    studies["covers"] = (low <= studies["truth"]) & (studies["truth"] <= high)
    studies["apart"] = (studies["p"] < SIGNIFICANCE).where(studies["p"].notna()).astype(float)
    return studies


def show(studies: pd.DataFrame) -> bool:
    """Print a line a kind of interval, and the design in which it covers least; whether all cover
    enough and tell equals apart seldom enough, within the simulation's error.
    """
    fine = True
    print("| Selang | Memuat kebenaran | Dinyatakan berbeda | Galat | Rancangan terlemah |")
    print("|:--|--:|--:|--:|:--|")
    for kind, rows in studies.groupby("kind", sort=False):
        designs = rows.groupby("design")["covers"].agg(["mean", "size"])
        error, errors = 2 * np.sqrt(0.05 * 0.95 / np.array([len(rows), designs["size"].min()]))
        worst, covers, apart = designs["mean"].idxmin(), rows["covers"].mean(), rows["apart"].mean()
        level = "–" if np.isnan(apart) else percent(apart)
        least = f"{percent(designs['mean'].min())} (±{percent(errors)}): {worst}"
        print(f"| {kind} | {percent(covers)} | {level} | {percent(error)} | {least} |", flush=True)
        most, least_power = SIGNIFICANCE + error, evaluation.POWER - 2 * error  # twice the error
        missed = apart < least_power if kind.startswith(PLAN) else apart > most
        fine &= covers > LEAST - error and not missed
    return bool(fine)


# --- the reference study's own seeds --------------------------------------------------------------


def null_rate(recipe: Measured, size: int) -> tuple[float, int]:
    """Share of the splits of the seeds into two groups of `size` that differ, and their number."""

    def only(seeds: tuple[int, ...]) -> Measured:
        parts = tuple((influences[[*seeds]], patients) for influences, patients in recipe.parts)
        return Measured(recipe.values[[*seeds]], parts)

    groups = itertools.combinations(range(len(recipe.values)), size)
    pairs = [(a, b) for a, b in itertools.combinations(groups, 2) if not set(a) & set(b)]
    apart = [evaluation.difference(only(a), only(b))["p"] for a, b in pairs]
    return float(np.mean(np.array(apart) < SIGNIFICANCE)), len(pairs)


def split(row: remedies.Row, data: Dataset) -> bool:
    """Print the null rates of the reference's recipe; whether none is above SIGNIFICANCE."""
    generator, studies, fine = np.random.default_rng(0), [], []
    recipes = {"kesenjangan": row.gap(data)}
    for _ in range(SPLIT_STUDIES):  # how far the rate of other seeds would lie from this one
        images = Images(generator, 682)
        logits = images.networks(generator.normal(STRENGTH, SEED_SD, len(row.trained)))
        studies.append(evaluation.measured(logits, images.labels, images.patients)["auc"])
    spreads = {n: 2 * np.std([null_rate(study, n)[0] for study in studies]) for n in SPLITS}
    for part in (replace(data, extra=None), data):
        n = len(remedies.test_images(part)[0])
        recipes[f"AUC, {number(n, 0)} citra uji"] = row.measured(part)["auc"]
    print("\n| Ukuran | Seed tiap kelompok | Pembagian | Dinyatakan berbeda |\n|:--|--:|--:|--:|")
    for (question, recipe), size in itertools.product(recipes.items(), SPLITS):
        rate, pairs = null_rate(recipe, size)
        fine.append(rate <= SIGNIFICANCE + 1.5 * spreads[size])  # of six rates one is far by chance
        shown = f"{percent(rate)} (±{percent(spreads[size])})"
        print(f"| {question} | {size} | {number(pairs, 0)} | {shown} |", flush=True)
    return all(fine)


def main() -> int:
    parser = argparse.ArgumentParser(description="Cakupan selang dan putusan palsu")
    parser.add_argument("--times", type=int, default=1, help="kali banyaknya studi (bawaan: 1)")
    fine = show(simulated(parser.parse_args().times))
    study = open_study("phantom", "random", "full", device="cpu", precision="float32")
    data = reference.with_extra(study.used)
    jobs = [job for job in reference.plan(study, data) if job.remedy == remedies.BASELINE]
    return int(not (split(reference.rows(jobs)["baseline"], data) and fine))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
