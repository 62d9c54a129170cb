"""What `make report` says beforehand of the time that its trainings will take."""

import re

import pytest
import torch

from cxr_helpers import overfitting, reference, remedies
from cxr_helpers.engine import files, runs
from cxr_helpers.study import open_study
from report import forecast


@pytest.fixture
def study(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "forecast"
    monkeypatch.setenv("CXR_DATA", str(folder / "data"))
    monkeypatch.setenv(files.RUNS, str(folder / "runs"))
    return open_study(data="phantom", weights="random", preset="smoke", device="cpu", seeds=2)


def distinct(study, repeat: str) -> int:
    return len(
        {runs.run_key(runs.identity(*task, study.device)) for task in forecast.tasks(study, repeat)}
    )


def test_every_training_of_the_report_is_counted_once(study):
    sides = 2 * (2 + len(overfitting.PARTS))  # the random start is the baseline's
    few = 1 + len(remedies.ALWAYS)
    assert distinct(study, "auto") - 2 * few - sides - 2 in (
        0,
        2,
    )  # with the reference's combination, where it has chosen one
    assert (
        distinct(study, "all") == 2 * (1 + len(remedies.REMEDIES) + 1) + remedies.FOLDS + sides + 2
    )


def test_what_the_notebooks_train_is_what_was_counted(study):
    """The rows of notebook 04 and the learning curve of notebook 03, trained, leave only the starting weights."""
    remedies.measure(study, chosen=reference.combination(reference.read()))
    remedies.shortcut(study)
    overfitting.learning_curve(study, study.baseline())
    left = [
        task
        for task in forecast.tasks(study)
        if not runs.finished(runs.run_key(runs.identity(*task, study.device)))
    ]
    assert left and {task[2].kind for task in left} == {"gabor"}


def test_the_line_names_number_and_time_and_says_where_all_is_stored(study, monkeypatch):
    monkeypatch.setattr(
        forecast,
        "tasks",
        lambda study, repeat: [(study.config(epochs=1), study.used, study.weights)],
    )
    line = forecast.said(study)
    assert re.fullmatch(
        r"Pelatihan yang belum tersimpan: 1, seluruhnya sekitar \d+ menit pada CPU .*\.", line
    )
    assert "CLUSTER" in forecast.said(study, cluster="dask://a:1")
    threads = torch.get_num_threads()
    assert "menit" in forecast.said(study, n_jobs=2) and torch.get_num_threads() == threads
    runs.get(study.config(epochs=1), study.used, study.weights, study.device)
    assert forecast.said(study) == "Semua pelatihan sudah tersimpan."
