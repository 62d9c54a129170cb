"""The box: what a kernel may reach, claimed runs trained again, and a class graded in it."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cxr_helpers import training
from cxr_helpers.engine import files, runs
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study
from grading import again, box, claims, grade, marking, package, pages
from grading.course import read_course
from tests import grading_class as made

REFUSED = box.refusal()
boxed = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))


def ask(kernel, expression: str):
    """The value of an expression in the kernel."""
    probe = f"hasil[0] = {expression}"
    return kernel.run("", 60, box.ask(probe))[1]["0"]


@boxed
def test_the_box_sees_no_key_no_home_and_no_network_and_writes_nothing(tmp_path, monkeypatch):
    (tmp_path / "akurasi.py").write_text("x")
    monkeypatch.setenv("RAHASIA", "x")
    ours = (tmp_path, box.files.ROOT / "grading", box.files.ROOT / "notebooks", "/etc/passwd")
    own, library = f"{box.PROJECT}/cxr_helpers/x", f"{os.path.dirname(os.__file__)}/x"
    with socket.create_server(("127.0.0.1", 0)) as server, box.Kernel() as kernel:
        kernel.run("import os, socket", 60)
        for place in (*ours, os.path.expanduser("~/.ssh")):
            assert ask(kernel, f"os.path.exists({str(place)!r})") is False, place
        assert ask(kernel, "'RAHASIA' in os.environ") is False
        error, _ = kernel.run(f"socket.create_connection({server.getsockname()!r}, 2)", 60)
        assert error.startswith(("OSError", "ConnectionRefusedError"))
        for place in ("/x", "/dev/x", "/usr/x", own, library):
            assert kernel.run(f"open({place!r}, 'w')", 60)[0].startswith("OSError"), place
        for place in ("penuh", "/dev/shm/penuh"):  # each holds 256 MB at most
            fill = f"f = open({place!r}, 'wb')\nfor _ in range(40): f.write(bytes(10**7))"
            assert kernel.run(fill, 60)[0].startswith("OSError"), place
        assert kernel.run("x = bytearray(7 * 2**30)", 60)[0] == "MemoryError"
        assert kernel.run("os.memfd_create('x')", 60)[0] == "PermissionError"
        assert {path.name for path in kernel.folder.iterdir()} == {"k.json", "saringan"}
        assert kernel.run("raise ValueError('kunci')", 60) == ("ValueError", None)
        odd = [{"objek": "int"}, {"bukan bilangan": "inf"}, "9"]
        assert ask(kernel, "[10**400, 1e400, '9']") == odd
        assert kernel.run("from grading.exercises import periksa", 120) == (None, None)
    assert not (box.files.ROOT / "cxr_helpers/x").exists()


SWALLOW = "while True:\n    try:\n        while True: ...\n    except BaseException: ..."
FILLS = "import os, time\nfor _ in range(3): os.fork()\nx = bytearray(b'1') * 10**8\ntime.sleep(60)"
ENDS = {  # how a kernel is ended: by which code
    "waktu habis": SWALLOW,
    "melanggar kotak": "import os\nwhile True:\n    os.fork()",
    "keluaran berlebihan": "for _ in range(200):\n    print('x' * 100_000)",
    "kernel mati": "import os\nos._exit(3)",
    "memori": FILLS,
}


@boxed
@pytest.mark.parametrize("status", ENDS)
def test_who_breaks_a_limit_ends_the_kernel_and_leaves_nothing(status, monkeypatch):
    monkeypatch.setattr(box, "GRACE", 1)
    monkeypatch.setattr(box, "LAST_OUTPUT", 4)
    if status == "memori":  # to fill the real limit takes a slow machine long
        monkeypatch.setattr(box, "MEMORY", 600 * 2**20)
    with box.Kernel() as kernel:
        with pytest.raises(box.Ended) as ended:
            kernel.run(ENDS[status], 2 if status == "waktu habis" else 120)
        tree = kernel._processes()
    assert ended.value.status == status
    assert not kernel.folder.exists()
    assert not [one for one in tree if one.is_running() and one.status() != "zombie"]


def test_the_answers_of_a_hand_in_share_their_seconds_and_the_last_has_some(monkeypatch):
    asked = []

    def run(code, seconds, question):
        asked.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(box.Allowance, "left", 0.4)
    monkeypatch.setattr(box, "LEAST", 0)
    allowance = box.Allowance()
    for _ in range(9):
        allowance.run(SimpleNamespace(run=run), "", 30)
    assert asked[0] == 0.1 and 0 < asked[-1] < 0.02 and sum(asked) < 0.4


def test_without_bubblewrap_no_class_is_graded_and_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("KUMPULAN", str(tmp_path))
    monkeypatch.delenv("TANPA_KOTAK", raising=False)
    with pytest.raises(InputError, match=r"apt-get install bubblewrap.*TANPA_KOTAK=1"):
        grade.main()


OWN = """from torch import nn

def network():
    layers = nn.Linear(784, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1)
    return nn.Sequential(nn.Flatten(), *layers)

BAGIAN = {'network': network}
"""


@pytest.fixture(scope="module")
def study():
    return open_study("phantom", "random", "smoke", 1234, "cpu")


@pytest.fixture(scope="module")
def given(study) -> package.Handin:
    """A hand-in of one run with a network of one's own, trained here in two epochs."""
    config = study.config(own=OWN, lr=1e-3)
    run = training.run(config, study.used, study.weights, "cpu", keep_weights=False)
    paths = {f"x/runs/{run.key}/{name}": run.folder / name for name in runs.FILES}
    found = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
    about = json.dumps({"provenance": study.provenance()}, default=str)
    return package.Handin("x", found | {"x/results/02_pelatihan.json": about.encode()}, digest="0")


def setting(given: package.Handin, **changes) -> package.Handin:
    """The hand-in of a run with other settings, under the key that they give."""
    (place,) = [path for path in given.files if path.endswith("config.json")]
    body = json.loads(given.files[place])
    body["config"] |= changes
    key, old = runs.Task(body, (), "").key, place.split("/")[-2]
    changed = given.files | {place: json.dumps(body).encode()}
    moved = {path.replace(old, key): content for path, content in changed.items()}
    return dataclasses.replace(given, files=moved)


def retrained(given: package.Handin, boxed: bool = True) -> str:
    (key,) = {path.split("/")[-2] for path in given.files if path.endswith("config.json")}
    claim = claims.Claim("cocok", key=key, trained={key: "baseline"})
    return again.retrain(given, claim, [], claims.Studies(), "garam", boxed)


@boxed
def test_own_code_agrees_bit_by_bit_and_reaches_nothing_of_ours(given, tmp_path):
    attack = f"""import contextlib, os, pathlib
for place in ({str(tmp_path / "x")!r}, '/tmp/data/x'):
    with contextlib.suppress(OSError):
        pathlib.Path(place).write_text('x')
if os.path.exists({str(files.ROOT / "grading")!r}):
    raise ValueError('reached')
"""
    said = retrained(setting(given, own=attack + OWN))
    assert said.startswith("baseline (") and said.endswith("): sama bit demi bit"), said
    assert not (tmp_path / "x").exists() and not (files.data_folder() / "x").exists()


def test_what_may_not_be_trained_is_said_and_never_run(given, tmp_path, monkeypatch):
    asked = {}

    def run(kernel, code, seconds, question=""):
        asked.update(seconds=seconds)
        raise box.Ended("direkam")

    monkeypatch.setattr(box.Kernel, "__enter__", lambda kernel: kernel)
    monkeypatch.setattr(box.Kernel, "__exit__", lambda kernel, *error: None)
    monkeypatch.setattr(box.Kernel, "run", run)
    trap = f"open({str(tmp_path / 'x')!r}, 'w').write('x')\n" + OWN
    for changes, said in (
        ({"own": trap}, "kode sendiri hanya dilatih di dalam kotak"),
        ({"epochs": 11}, "11 epoch terlalu banyak"),  # more than five times the preset's
        ({"lr": "x"}, "tidak diperiksa ("),
        ({"warna": 1}, "tidak diperiksa (TypeError)"),
    ):
        assert said in retrained(setting(given, **changes), boxed=False)
    assert not asked and not (tmp_path / "x").exists()
    assert retrained(setting(given, lr=0.002)).endswith("tidak diperiksa (direkam)")
    assert asked["seconds"] == again.MOST  # whatever a hand-in says


def test_the_class_draws_what_is_trained_again(tmp_path, monkeypatch):
    salt, names = again.salt(tmp_path), [f"m{i}" for i in range(9)]
    (tmp_path / "lain").mkdir()
    assert again.salt(tmp_path) == salt != again.salt(tmp_path / "lain")
    assert again.order(salt, names) == again.order(salt, reversed(names)) != sorted(names)
    monkeypatch.setattr(package, "results", lambda *given: {"provenance": None})
    claim = claims.Claim("cocok", key="02", trained=dict.fromkeys(["02", "a", "b", "c"], "baris"))
    handin, studies = package.Handin("x"), SimpleNamespace(get=lambda given: None)
    said = again.retrain(handin, claim, [], studies, salt, True).split("; ")
    keys = ["02", again.order(salt, "abc")[0]]
    assert [line.split(":")[0] for line in said] == [f"baris ({key})" for key in keys]


def test_a_training_done_again_is_equal_within_or_outside():
    labels = np.arange(100) % 2
    logits = (labels + np.random.default_rng(0).normal(size=100)).astype(np.float32)
    seeds = [0.7, 0.71, 0.69, 0.72, 0.7]
    for other, spread, said in (
        (logits.copy(), seeds, "sama bit demi bit"),
        (logits + np.float32(1e-6), seeds, "dalam selang prediksi"),
        (-logits, seeds, "TIDAK COCOK, di luar"),
        (-logits, seeds[:4], "sebaran antarseed-nya tidak diketahui"),
        (logits[1:], seeds, "TIDAK COCOK, pelatihan itu tidak memberi"),
    ):
        assert said in again.agreement(other, logits, labels, spread)


def state(base: Path) -> dict[Path, str]:
    """Digest of every file that is the instructor's or a student's."""
    found = [p for part in ("kuliah", "rumah", "kumpulan") for p in (base / part).rglob("*")]
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.is_file()}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(folder, planted, records, course) of the class."""
    if REFUSED:
        pytest.skip(REFUSED)
    base = tmp_path_factory.mktemp("kelas")
    made.course_folder(base / "kuliah")
    course = read_course(*(base / "kuliah" / name for name in ("notebooks", "kunci", "solutions")))
    (base / "rumah").mkdir()
    (base / "rumah/rahasia").write_text("rahasia")
    planted = made.planted_class([str(base / "rumah"), str(base / "kuliah/kunci")])
    made.lay_out(planted, base / "kumpulan")
    before = state(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marking, "CELL", 6)
        patch.setattr(box, "GRACE", 1)
        records, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
    assert now == len(planted) and state(base) == before
    return base, planted, records, course


def test_every_point_and_status_is_the_planted_one(graded):
    base, planted, records, _ = graded
    for one in planted:
        record = records[base / "kumpulan" / one.name]
        assert record.status == one.status and bool(record.why) == (one.status != "dinilai")
        assert {name: part["points"] for name, part in record.parts.items()} == one.points()
        for name, part in record.parts.items():
            usual = marking.HAND if name.startswith("esai") else "benar"
            status, _ = one.parts.get(name, (usual, None))
            assert part["status"] in status.split("|"), (one.name, name)


def test_a_second_run_grades_only_what_was_cut_short_and_no_page_tells_a_hidden_test(graded):
    base, planted, records, course = graded
    path = base / "kumpulan" / next(one.name for one in planted if one.status == "rusak")
    grade.record_path(base / "nilai/hasil", path).write_text('{"name": "cut sho')
    for expected in (1, 0):
        again = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
        assert again == (records, expected)
    pages.write(base / "nilai", grade.latest(records), course, None)
    table = (base / "nilai/nilai.csv").read_text("utf-8")
    assert table.startswith("\ufeff")
    rows = csv.DictReader(io.StringIO(table.lstrip("\ufeff")), delimiter=";")
    sums = {row["Kumpulan"]: row["Jumlah"] for row in rows}
    assert sums == {one.name: f"{sum(v or 0 for v in one.points().values()):g}" for one in planted}
    page = next(iter((base / "nilai/mahasiswa").glob("130001-*"))).read_text("utf-8")
    assert "sebagian" in page
    for key in made.KEYS.values():
        assert not [line for line in key.splitlines() if line.split("lambda: ")[1] in page]
