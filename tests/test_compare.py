"""What `make compare` tells a person who holds two builds (report/compare.py)."""

import copy
import json
import sys

import pytest

from report import compare
from tests.conftest import Project

PROVENANCE = {
    "data": {"title": "Fantom", "fingerprint": "aa"},
    "weights": {"title": "Bobot acak"},
    "preset": {"name": "full"},
    "seed": 0,
    "seeds": [0, 1, 2, 3, 4],
    "device": {"name": "CPU (2 thread)", "threads": 2},
    "packages": {"python": "3.11", "torch": "2.15.0", "numpy": "2.1"},
    "commit": "abc",
    "started": "kemarin",
    "seconds": 3.0,
}
BODY = {
    "schema": 1,
    "provenance": PROVENANCE,
    "config": {"epochs": 10},
    "run": {"key": "x", "seconds": 3},
    "test": {
        "n": 682,
        "acc": {"value": 0.85, "ci95": [0.81, 0.89]},
        "auc": {"value": 0.9, "ci95": [0.88, 0.92]},
    },
    "variants": [
        {"name": "a", "gap": {"value": 0.1, "ci95": [0.05, 0.15], "p": 0.01}},
        {"name": "b", "loss": 0.4, "verdict": "baik"},
    ],
    "history": [{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.4}],
    "samples": {"images": [[[1, 2], [3, 4]]]},
}


def changed(**places) -> dict:
    """BODY with values replaced: test__acc__value=0.9."""
    body = copy.deepcopy(BODY)
    for place, new in places.items():
        *way, last = [int(key) if key.isdigit() else key for key in place.split("__")]
        inner = body
        for key in way:
            inner = inner[key]
        inner[last] = new
    return body


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """ask(a, b, TOL=…) → (exit code, what was printed) for two bodies of 02_pelatihan."""

    def ask(a: dict, b: dict, **settings: str) -> tuple[int, str]:
        for side, body in (("A", a), ("B", b)):
            folder = tmp_path / side / "results"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "02_pelatihan.json").write_text(json.dumps(body))
        for name in ("TOL", "RINCI"):
            monkeypatch.setenv(name, settings.get(name, ""))
        monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "A"), str(tmp_path / "B")])
        code = compare.main()
        return code, "".join(capsys.readouterr())

    return ask


def test_what_a_rerun_may_change_is_the_same(ask):
    again = changed(provenance__started="hari ini", provenance__seconds=9.0, run__seconds=8)
    code, said = ask(BODY, again)
    assert (
        code == 0 and said == "SAMA: 10 angka dari 1 notebook.\n"
    )  # n, acc, auc, gap, p, loss, twice epoch and val_loss


def test_the_largest_against_its_interval_comes_first(ask):
    code, said = ask(
        BODY, changed(test__acc__value=0.83, test__auc__value=0.88, variants__1__loss=0.5)
    )
    assert code == 1
    lines = said.splitlines()
    assert lines[0] == "BERBEDA: 3 dari 10 angka yang ada pada keduanya berbeda."
    assert [line.split()[0] for line in lines if line.startswith("02_pelatihan")] == [
        "02_pelatihan.test.auc",
        "02_pelatihan.test.acc",
        "02_pelatihan.variants[b].loss",
    ]
    rows = [line.split() for line in lines if line.startswith("02_pelatihan")]
    assert rows[0][1:] == ["0,9000", "0,8800", "−0,0200", "1,0×"]  # 0.02 over half of 0.88–0.92
    assert rows[1][1:] == ["0,8500", "0,8300", "−0,0200", "0,5×"]
    assert rows[2][1:] == ["0,4000", "0,5000", "0,1000", "–"]
    assert "÷ sebaran seed" in said and "seharusnya sama persis" in said


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([0, 1, 2], "÷ sebaran seed"),
        ([0, 1], "÷ setengah IK"),
        ([0], "hanya memperhitungkan ragam antarcitra"),
    ],
)
def test_one_seed_has_no_spread(ask, seeds, said):
    fewer = {"provenance__seeds": seeds}
    assert said in ask(changed(**fewer), changed(test__acc__value=0.8, **fewer))[1]


@pytest.mark.parametrize(
    ("tolerance", "code"), [("", 1), ("0.019", 1), ("0.021", 0), ("0,021", 0), ("1", 0)]
)
def test_a_tolerance(ask, tolerance, code):
    found, said = ask(BODY, changed(test__acc__value=0.83), TOL=tolerance)
    assert found == code and said.startswith(
        "SAMA dalam toleransi" if code == 0 else "BERBEDA: 1 dari 10"
    )


@pytest.mark.parametrize("tolerance", ["-1", "banyak", "nan", "inf"])
def test_a_tolerance_that_is_none(ask, tolerance):
    code, said = ask(BODY, BODY, TOL=tolerance)
    assert code == 2 and said.count("\n") == 1 and tolerance in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"provenance__data__fingerprint": "bb"}, "data: Fantom (aa) ≠ Fantom (bb)"),
        ({"provenance__weights__title": "Bank Gabor"}, "bobot: Bobot acak ≠ Bank Gabor"),
        ({"provenance__seeds": [5, 6, 7]}, "seed: 0, 1, 2, 3, 4 ≠ 5, 6, 7"),
        (
            {"provenance__device__threads": 4},
            "mesin: CPU (2 thread), 2 thread ≠ CPU (2 thread), 4 thread",
        ),
        ({"provenance__packages__torch": "2.6.0"}, "versi: torch 2.15.0 ≠ torch 2.6.0"),
        ({"provenance__commit": "def-dirty"}, "kode: abc ≠ def-dirty"),
    ],
)
def test_the_reason_is_said_first(ask, change, said):
    code, printed = ask(BODY, changed(test__acc__value=0.8, **change))
    assert (
        code == 1
        and printed.splitlines()[1].strip() == said
        and "seharusnya sama persis" not in printed
    )
    assert (
        ask(BODY, changed(**change))[0] == 0
    )  # the same numbers on another machine are the same numbers


def test_pixels_and_words_do_not_decide_and_come_on_request(ask):
    other = changed(samples__images=[[[1, 2], [3, 5]]], variants__1__verdict="buruk")
    code, said = ask(BODY, other)
    assert code == 0 and "1 kata atau putusan dan 1 larik" in said and "buruk" not in said
    code, said = ask(BODY, other, RINCI="1")
    assert (
        code == 0
        and "variants[b].verdict: baik ≠ buruk" in said
        and "samples.images: larik 4 dan 4 nilai" in said
    )


def test_a_metric_that_is_missing_or_became_nothing_is_a_difference(ask):
    code, said = ask(BODY, changed(test__acc__value=None))
    assert code == 1 and "0,8500" in said and "–" in said
    other = copy.deepcopy(BODY)
    del other["test"]["auc"]
    code, said = ask(BODY, other)
    assert code == 1 and "Hanya pada A: 1 angka, misalnya 02_pelatihan.test.auc." in said


def test_a_long_table_is_cut_and_says_so(ask):
    body = changed(many={f"m{i}": i for i in range(100)})
    code, said = ask(body, changed(many={f"m{i}": i + 1 for i in range(100)}))
    assert (
        code == 1
        and said.count("02_pelatihan.many") == compare.SHOWN
        and "60 angka lagi: tambahkan RINCI=1" in said
    )
    assert (
        ask(body, changed(many={f"m{i}": i + 1 for i in range(100)}), RINCI="1")[1].count(
            "02_pelatihan.many"
        )
        == 100
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 99}'])
def test_a_damaged_file_is_one_line(ask, tmp_path, content, capsys):
    ask(BODY, BODY)
    (tmp_path / "B/results/02_pelatihan.json").write_text(content)
    assert compare.main() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "02_pelatihan.json" in error


def test_any_folder_by_make(tmp_path):
    project = Project(tmp_path)
    names = ("hasil Siti's $x %d", "日本 (2)", "langsung")
    for name in names:
        folder = project.folder / name / ("" if name == "langsung" else "results")
        folder.mkdir(parents=True)
        (folder / "02_pelatihan.json").write_text(
            json.dumps(BODY if name != "日本 (2)" else changed(test__acc__value=0.84))
        )
    done = project.make("-s", "compare", f"A={names[0]}", f"B={names[2]}")
    assert done.returncode == 0 and "SAMA: 10 angka" in done.stdout, done.stdout
    done = project.make("-s", "compare", f"A={names[0]}", f"B={names[1]}")
    assert done.returncode != 0 and "BERBEDA: 1 dari 10" in done.stdout, done.stdout
    assert (
        "SAMA" in project.make("-s", "compare", f"A={names[0]}", f"B={names[1]}", "TOL=0.02").stdout
    )
    for words in ((), (f"A={names[0]}", "B=tidak ada")):
        done = project.make("-s", "compare", *words)
        assert done.returncode != 0 and "Galat:" in done.stdout and "Traceback" not in done.stdout
