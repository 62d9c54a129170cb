"""Images of one patient belong together: which patient an image shows, and what the intervals and the folds make of it."""

import numpy as np
import pytest

from cxr_helpers import data, evaluation, remedies
from cxr_helpers.engine import patients, sources
from tests.conftest import made as small
from tests.medmnist_files import CHESTMNIST, written

# Measured on the list itself: images and patients of each split.
KNOWN = {"train": (2306, 1193), "val": (305, 164), "test": (682, 360)}


@pytest.fixture(scope="module")
def real(real_layout) -> data.Dataset:
    return data.load(sources.resolve(str(real_layout)))


# --- whose image it is ----------------------------------------------------------------------------------------------


def test_no_patient_of_the_list_is_in_two_splits_and_every_row_is_in_the_file():
    known = patients.read()
    assert list(known) == ["test", "train", "val"]
    for split, part in known.items():
        assert (np.diff(part["rows"]) > 0).all() and 0 <= part["rows"].min() <= part[
            "rows"
        ].max() < CHESTMNIST[split]
        assert set(part["labels"]) == {0, 1}
    assert sum(len(np.unique(part["patients"])) for part in known.values()) == len(
        np.unique(np.concatenate([part["patients"] for part in known.values()]))
    )


def test_each_image_of_the_real_layout_has_its_patient(real):
    for split, (n, m) in KNOWN.items():
        part, known = getattr(real, split), patients.read()[split]
        assert (len(part), part.n_patients) == (n, m) and part.patients.dtype == np.int64
        np.testing.assert_array_equal(part.patients, known["patients"])
        np.testing.assert_array_equal(part.rows, known["rows"])
    assert "pasien" not in real.source.note
    assert (
        dict(data.describe(real))["Citra test"]
        == "682 dari 360 pasien (Kardiomegali 243, Pneumotoraks 439)"
    )


def test_the_patients_follow_their_images_into_every_part(real):
    owner = dict(zip(real.train.rows, real.train.patients, strict=True))
    small = data.take(real, 60, None, 40, seed=1)
    assert [owner[row] for row in small.train.rows] == small.train.patients.tolist()
    assert small.val.patients is real.val.patients
    assert data.with_splits(real, val=small.train).val.n_patients == small.train.n_patients


def test_the_order_of_the_classes_does_not_matter_and_another_pair_has_no_patients(
    real_layout, real
):
    source = sources.resolve(str(real_layout))
    back = data.load(source, "pneumothorax,cardiomegaly")
    np.testing.assert_array_equal(back.test.patients, real.test.patients)
    labels = np.load(real_layout)["test_labels"]
    assert (labels[back.test.rows, 1] == back.test.labels).all()


@pytest.mark.parametrize("change", ["label", "row"])
def test_one_row_that_differs_and_no_patient_is_used_and_that_is_said(
    real_layout, real, tmp_path, change
):
    arrays = dict(np.load(real_layout))
    row = real.test.rows[5]
    if change == "label":
        arrays["test_labels"][row, [1, 7]] ^= 1
    else:  # an image that has another finding besides
        arrays["test_labels"][row, 3] = 1
    other = data.load(sources.resolve(str(written(tmp_path / "changed.npz", arrays))))
    assert all(getattr(other, split).patients is None for split in sources.SPLITS)
    assert (
        other.source.note.endswith(data.UNKNOWN_PATIENTS) and data.UNKNOWN_PATIENTS.count(".") == 1
    )
    assert "dari" not in dict(data.describe(other))["Citra test"]


def test_patients_change_no_training(real):
    assert (
        data.with_splits(real, train=data.replace(real.train, patients=None)).fingerprint
        == real.fingerprint
    )


# --- folds ----------------------------------------------------------------------------------------------------------


def test_folds_share_no_patient(real):
    share, held_out = np.concatenate([real.train.labels, real.val.labels]).mean(), []
    for fold in remedies.folds(real, seed=3):
        assert not set(fold.train.patients) & set(fold.val.patients)
        assert len(fold.train) + len(fold.val) == 2306 + 305 and fold.test is real.test
        assert abs(fold.val.labels.mean() - share) < 0.05
        held_out += fold.val.images.reshape(len(fold.val), -1)[:, :8].tolist()
    assert len({tuple(image) for image in held_out}) == len(held_out) == 2306 + 305


# --- intervals ------------------------------------------------------------------------------------------------------


def clustered(
    generator, each: tuple[int, int] = (60, 70), within: float = 0.7
) -> tuple[np.ndarray, ...]:
    """Logits, labels and patients of `each` patients a class with 3–5 images; `within` is the correlation within a patient."""
    sizes = generator.integers(3, 6, sum(each))
    who = np.repeat(np.arange(len(sizes)), sizes)
    labels = (who >= each[0]).astype(np.uint8)
    noise = np.sqrt(within) * generator.normal(size=len(sizes))[who] + np.sqrt(
        1 - within
    ) * generator.normal(size=len(who))
    return noise + np.where(labels == 1, 1, -1), labels, who


def test_whole_patients_are_drawn_within_each_class():
    _, labels, who = clustered(np.random.default_rng(0))
    rows = np.concatenate(list(evaluation.resample(labels, repeats=50, patients=who)))
    assert rows.shape == (50, len(labels)) and (labels[rows].sum(1) == labels.sum()).all()
    sizes = np.bincount(who)
    for drawn in rows:
        counts = np.bincount(drawn, minlength=len(labels))
        whole = [np.ptp(counts[who == one]) == 0 for one in range(len(sizes))]
        assert len(whole) - sum(whole) <= 2  # in each class the last one may be cut
    every = np.concatenate(list(evaluation.resample(labels, repeats=4000, patients=who)))
    weight = np.bincount(every.ravel(), minlength=len(labels)) / 4000
    assert abs(weight - 1).max() < 0.12  # no image is favoured


def test_patients_are_counted_of_some_images_or_of_all():
    who = np.array([5, 5, 7, 9, 9])
    assert evaluation.n_patients(who) == 3 and evaluation.n_patients(None) is None
    assert evaluation.n_patients(who, who < 9) == evaluation.n_patients(who, slice(3)) == 2
    assert (
        evaluation.n_patients(who, np.array([3, 4])) == 1
        and evaluation.n_patients(who, who > 9) == 0
    )
    assert evaluation.n_patients(None, slice(3)) is None


def test_an_effective_size_by_hand():
    hits, who = np.array([1, 1, 1, 0, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 1, 1, 2, 2])
    # share 1/2, patients' sums of hits − share: 1.5, −1.5, 0; variance 3/2 · 4.5 / 64
    assert evaluation.effective_size(hits, who) == pytest.approx(0.25 / (1.5 * 4.5 / 64))
    assert evaluation.effective_size(hits) == 8
    assert evaluation.effective_size(np.ones(8), who) == pytest.approx(
        64 / 22
    )  # nothing varies: a patient counts as one
    assert (
        evaluation.effective_size(np.arange(100) % 2, np.arange(100) // 2) == 100
    )  # never more than the images
    assert evaluation.effective_size(np.arange(100) % 2, np.arange(100)) == pytest.approx(99)


def test_intervals_by_patients_cover_the_truth_where_those_by_images_do_not():
    """120 simulated test splits with 3–5 images a patient: accuracy is Φ(1), AUC Φ(√2)."""
    generator = np.random.default_rng(5)
    truth = {"acc": 0.8413, "auc": 0.9214}
    held = {(name, by): 0 for name in truth for by in ("patients", "images")}
    for _ in range(120):
        logits, labels, who = clustered(generator)
        drawn = {
            "patients": evaluation.resample(labels, 400, patients=who),
            "images": evaluation.resample(labels, 400),
        }
        rows = {by: np.concatenate(list(chunks)) for by, chunks in drawn.items()}
        for by, drawn in rows.items():
            found = {
                "acc": evaluation.share((logits > 0) == labels, who if by == "patients" else None)[
                    "ci95"
                ],
                "auc": evaluation.percentile(
                    evaluation.area_under_curve(logits[drawn], labels[drawn])
                ),
            }
            for name, (low, high) in found.items():
                held[name, by] += low <= truth[name] <= high
    for name in truth:
        assert held[name, "patients"] / 120 > 0.90 > held[name, "images"] / 120, held


def test_every_interval_is_wider_by_patients(real):
    labels, who = real.test.labels, real.test.patients
    generator = np.random.default_rng(2)
    logits, other = (
        generator.normal(size=who.max() + 1)[who]
        + 0.4 * generator.normal(size=len(who))
        + 2.4 * labels
        - 1.2
        for _ in range(2)
    )

    def width(estimate: dict) -> float:
        return estimate["ci95"][1] - estimate["ci95"][0]

    by = [
        {
            **{
                name: width(evaluation.metrics(logits, labels, patients=p)[name])
                for name in ("acc", "balanced_acc", "auc")
            },
            "loss": width(evaluation.mean_loss([logits], labels, patients=p)),
            "mean": width(evaluation.mean_accuracy([logits], labels, p)),
            "seeds": width(evaluation.mean_over_seeds([logits, other], labels, patients=p)["auc"]),
            "difference": width(
                evaluation.paired_difference([logits], [other], labels, patients=p)["acc"]
            ),
            "gap": width(evaluation.accuracy_gap([logits], labels, [other], labels, p, p)),
        }
        for p in (who, None)
    ]
    assert all(1.2 < by[0][name] / by[1][name] < 2.5 for name in by[0]), by


def test_a_patient_each_is_as_images_are_today():
    splits = small()
    labels = splits.test.labels
    logits = np.linspace(-1, 1, len(labels))
    alone = evaluation.metrics(logits, labels, patients=np.arange(len(labels)))
    plain = evaluation.metrics(logits, labels)
    for name in evaluation.METRICS:
        assert alone[name]["value"] == plain[name]["value"]
        np.testing.assert_allclose(alone[name]["ci95"], plain[name]["ci95"], atol=0.03)
