"""The box: what a kernel may reach, claimed runs trained again, and a class graded in it."""

import copy
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

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
    return kernel.run("", 60, f"hasil[0] = {expression}")[1]["0"]


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
        assert kernel.run("raise ValueError('kunci')", 60) == ("ValueError", None)
        odd = [{"objek": "int"}, {"bukan bilangan": "inf"}, "9"]
        assert ask(kernel, "[10**400, 1e400, '9']") == odd
        assert (
            kernel.run("%matplotlib inline\nfrom grading.exercises import periksa", 120)[0] is None
        )
    assert not (box.files.ROOT / "cxr_helpers/x").exists()


SWALLOW = "while True:\n    try:\n        while True: ...\n    except BaseException: ..."
FILLS = "import os, time\nfor _ in range(3): os.fork()\nx = bytearray(b'1') * 10**8\ntime.sleep(60)"
ENDS = {  # how a kernel is ended: by which code
    "waktu habis": SWALLOW,
    "melanggar kotak": "import os\nwhile True:\n    os.fork()",
    "kernel mati": "import os\nos._exit(3)",
    "memori": FILLS,
}


@boxed
@pytest.mark.parametrize("status", ENDS)
def test_who_breaks_a_limit_ends_the_kernel_and_leaves_nothing(status, monkeypatch):
    if status == "memori":  # to fill the real limit takes a slow machine long
        monkeypatch.setattr(box, "MEMORY", 600 * 2**20)
    with box.Kernel() as kernel:
        with pytest.raises(box.Ended) as ended:
            kernel.run(ENDS[status], 2 if status == "waktu habis" else 120)
        tree = kernel._processes()
    assert ended.value.status == status
    assert not kernel.folder.exists()
    assert not [one for one in tree if one.is_running() and one.status() != "zombie"]


BURNS = "import time\nuntil = time.process_time() + 2\nwhile time.process_time() < until: ..."


@boxed
def test_computing_is_charged_as_a_processor_does_it_and_sleeping_by_the_clock(monkeypatch):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # of us and of all that we start
    busy = [subprocess.Popen([sys.executable, "-c", "while True: ..."]) for _ in range(4)]
    try:
        with box.Kernel() as kernel:
            begun = time.monotonic()
            assert kernel.run(BURNS, 3) == (None, None)
            assert time.monotonic() - begun > 3  # it had at most half of a processor
    finally:
        for process in busy:
            process.kill()
        os.sched_setaffinity(0, before)
    monkeypatch.setattr(box.Allowance, "left", 4)  # of all answers of a hand-in
    allowance = box.Allowance()
    for _ in range(4):
        with box.Kernel() as kernel, pytest.raises(box.Ended, match="waktu habis"):
            allowance.run(kernel, "import time\ntime.sleep(60)", 30)
    assert 4 <= box.Allowance.left - allowance.left < 10


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


def retrained(given: package.Handin) -> str:
    (key,) = {path.split("/")[-2] for path in given.files if path.endswith("config.json")}
    claim = claims.Claim("cocok", key=key, trained={key: "baseline"})
    return again.retrain(given, claim, [], claims.Studies(), "garam")


@boxed
def test_own_code_agrees_bit_by_bit_and_writes_nothing_of_ours(given):
    attack = "import contextlib, pathlib\nwith contextlib.suppress(OSError):\n"
    attack += "    pathlib.Path('/tmp/data/x').write_text('x')\n"
    said = retrained(setting(given, own=attack + OWN))
    assert said.startswith("baseline (") and said.endswith("): sama bit demi bit"), said
    assert not (files.data_folder() / "x").exists()


def test_what_may_not_be_trained_is_said_and_never_run(given, monkeypatch):
    asked = {}

    def run(kernel, code, seconds, probe=""):
        asked.update(seconds=seconds)
        raise box.Ended("direkam")

    monkeypatch.setattr(box.Kernel, "__enter__", lambda kernel: kernel)
    monkeypatch.setattr(box.Kernel, "__exit__", lambda kernel, *error: None)
    monkeypatch.setattr(box.Kernel, "run", run)
    for changes in ({"lr": "x"}, {"warna": 1}):
        assert "tidak diperiksa (" in retrained(setting(given, **changes))
    assert not asked
    assert retrained(setting(given, lr=0.002)).endswith("tidak diperiksa (direkam)")
    assert asked["seconds"] <= again.MOST * os.cpu_count()  # whatever a hand-in says


def test_the_class_draws_what_is_trained_again(tmp_path):
    salt, names = again.salt(tmp_path), [f"m{i}" for i in range(9)]
    (tmp_path / "lain").mkdir()
    assert again.salt(tmp_path) == salt != again.salt(tmp_path / "lain")
    assert again.order(salt, names) == again.order(salt, reversed(names)) != sorted(names)
    claim = claims.Claim("cocok", key="02", trained=dict.fromkeys(["02", "a", "b", "c"], "baris"))
    said = again.retrain(package.Handin("x"), claim, [], claims.Studies(), salt).split("; ")
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
    before = made.state(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marking, "CELL", 6)
        records, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
        pages.write(base / "nilai", grade.latest(copy.deepcopy(records)), course, None)
    assert now == len(planted) and made.state(base) == before
    return base, planted, records, course


def test_every_point_status_and_remark_is_the_planted_one(graded):
    base, planted, _, course = graded
    assert made.faults(planted, base / "nilai", course) == []


def test_a_second_run_grades_only_what_was_cut_short_and_no_page_tells_a_hidden_test(graded):
    base, planted, records, course = graded
    path = base / "kumpulan" / next(one.name for one in planted if one.status == "rusak")
    grade.record_path(base / "nilai/hasil", path).write_text('{"name": "cut sho')
    for expected in (1, 0):
        again = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
        assert again == (records, expected)
    texts = [path.read_text("utf-8") for path in (base / "nilai/mahasiswa").glob("*.html")]
    assert sum("sebagian" in text for text in texts) >= 3
    hidden = [line.split("lambda: ")[1] for key in made.KEYS.values() for line in key.splitlines()]
    assert not [line for line in hidden for text in texts if line in text]
