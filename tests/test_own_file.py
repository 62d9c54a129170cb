"""A MedMNIST file that is not ChestMNIST, from the command line to the printed page."""

import numpy as np
from bs4 import BeautifulSoup

from cxr_helpers.engine import results
from tests.conftest import Project
from tests.test_data import made


def test_a_file_of_ones_own_makes_its_own_report(tmp_path):
    project = Project(tmp_path)
    folder = project.folder / "rumah sakit"
    folder.mkdir()
    np.savez(folder / "bloodmnist.npz", **made("bloodmnist"))
    words = (
        "BUILD=lain",
        "DATA=rumah sakit/bloodmnist.npz",
        "CLASSES=Platelet, eosinophil",
        "PRESET=smoke",
        "WEIGHTS=random",
    )
    done = project.make("report", *words)
    assert done.returncode == 0, done.stdout
    result = results.read("02_pelatihan", project.folder / "lain")
    assert result["provenance"]["data"]["classes"] == ["platelet", "eosinophil"]
    page = BeautifulSoup(
        (project.folder / "lain/report/laporan.html").read_text("utf-8"), "html.parser"
    )
    cover, body = page.find("header").get_text(" "), page.main.get_text(" ")
    assert "bloodmnist.npz" in cover and "platelet, label 0" in cover and "BloodMNIST" in cover
    assert (
        "tepat satu label" in body
        and "Kardiomegali" not in body
        and "toraks" not in page.find("h1").get_text().lower()
    )
