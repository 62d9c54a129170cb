"""What `make compare` tells a person who holds two builds (report/compare.py)."""

import copy
import json
import sys

import pytest

from report import compare, status

BODY = {  # ten numbers: n, acc, auc, gap, p, loss, twice epoch and val_loss
    "schema": 1,
    "provenance": {
        "data": {"title": "Fantom", "fingerprint": "aa"},
        "seeds": [0, 1, 2],
        "device": {"name": "CPU", "threads": 2},
        "started": "kemarin",
    },
    "config": {"epochs": 10},
    "run": {"key": "x", "seconds": 3},
    "test": {
        "n": 682,
        "acc": {"value": 0.85, "ci95": [0.81, 0.89]},
        "auc": {"value": 0.9, "ci95": [0.88, 0.92], "seconds": 1},
    },
    "variants": [
        {"name": "a", "gap": {"value": 0.1, "ci95": [0.05, 0.15], "p": 0.01}},
        {"name": "b", "loss": 0.4, "verdict": "baik"},
    ],
    "history": [{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.4}],
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
        code = status(compare.main)
        return code, "".join(capsys.readouterr())

    return ask


def rows(said: str) -> list[list[str]]:
    """The table that was printed: [path, A, B, difference, against its interval]."""
    return [line.split() for line in said.splitlines() if line.startswith("02_pelatihan")]


def test_what_a_rerun_may_change_is_the_same(ask):
    again = changed(provenance__started="hari ini", test__auc__seconds=9, run__seconds=8)
    assert ask(BODY, again) == (0, "SAMA: 10 angka dari 1 notebook.\n")


def test_the_largest_against_its_interval_comes_first(ask):
    other = changed(test__acc__value=0.83, test__auc__value=0.88, variants__1__loss=0.5)
    code, said = ask(BODY, other)
    assert code == 1 and said.startswith("BERBEDA: 3 dari 10 angka")
    assert "seharusnya sama persis" in said  # nothing else differs
    assert rows(said) == [  # 0.02 over half of 0.88–0.92, then over half of 0.81–0.89
        ["02_pelatihan.test.auc", "0,9000", "0,8800", "−0,0200", "1,0×"],
        ["02_pelatihan.test.acc", "0,8500", "0,8300", "−0,0200", "0,5×"],
        ["02_pelatihan.variants[b].loss", "0,4000", "0,5000", "0,1000", "–"],
    ]


@pytest.mark.parametrize(
    ("tolerance", "code", "said"),
    [
        ("", 1, "BERBEDA: 1 dari 10"),
        ("0,021", 0, "SAMA dalam toleransi 0,021:"),
        ("nan", 2, "Galat: TOL=nan "),
    ],
)
def test_a_tolerance(ask, tolerance, code, said):
    assert ask(BODY, changed(test__n=683), TOL="1")[0] == 0  # as large as the tolerance
    found, printed = ask(BODY, changed(test__acc__value=0.83), TOL=tolerance)
    assert found == code and printed.startswith(said)
    assert code != 2 or printed.count("\n") == 1


def test_the_reason_is_said_first_and_is_no_difference_in_itself(ask):
    change = {"provenance__data__fingerprint": "bb", "provenance__device__threads": 4}
    code, printed = ask(BODY, changed(test__acc__value=0.8, **change))
    assert code == 1 and printed.splitlines()[1].strip() == "data: Fantom (aa) ≠ Fantom (bb)"
    assert printed.splitlines()[2].strip() == "mesin: CPU, 2 thread ≠ CPU, 4 thread"
    assert "seharusnya sama persis" not in printed
    assert ask(BODY, changed(**change))[0] == 0


def test_a_metric_that_is_missing_or_became_nothing_is_a_difference(ask):
    nothing = changed(test__acc__value=None)
    assert ask(nothing, nothing)[0] == 0
    code, said = ask(BODY, nothing)
    assert code == 1 and rows(said) == [["02_pelatihan.test.acc", "0,8500", "–", "–", "–"]]
    other = copy.deepcopy(BODY)
    del other["test"]["auc"]
    for side, pair in (("A", (BODY, other)), ("B", (other, BODY))):
        code, said = ask(*pair)
        assert code == 1 and f"Hanya pada {side}: 1 angka, misalnya 02_pelatihan.test.auc" in said
