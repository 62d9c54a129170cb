"""Which patient each ChestMNIST image of the course's two classes shows.

chestxray14_patients.csv holds `split,position,patient,label` of the 3,293 images whose only label
is cardiomegaly (0) or pneumothorax (1): position is the row in that split of chestmnist.npz,
patient the number that NIH ChestX-ray14 (Wang et al. 2017) writes before `_` in an image's file
name. Derived from the split lists of the CheXNet reproduction arnoweng/CheXNet, whose rows are
ChestMNIST's. Lists and file were never published as one, so they are compared before they are used.
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("chestxray14_patients.csv")


def read() -> dict[str, dict[str, np.ndarray]]:
    """{split: {"rows", "patients", "labels"}} of the file, each (n,) int64, in the order of the
    rows.
    """
    table = np.genfromtxt(
        FILE,
        delimiter=",",
        skip_header=1,
        dtype=None,
        encoding="utf-8",
        names="split,rows,patients,labels",
    )
    names = ("rows", "patients", "labels")
    return {
        str(split): {name: table[name][table["split"] == split].astype(np.int64) for name in names}
        for split in np.unique(table["split"])
    }


def match(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray] | None:
    """{split: patients (N,) int64} where `found`, {split: (rows, labels)}, is what the file holds;
    else None.
    """
    known = read()
    for split, (rows, labels) in found.items():
        if not (
            np.array_equal(rows, known[split]["rows"])
            and np.array_equal(labels, known[split]["labels"])
        ):
            return None
    return {split: known[split]["patients"] for split in found}
