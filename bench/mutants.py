"""How many planted faults the tests find: `python -m bench.mutants`, with the extra `mutants`
installed.

Cosmic Ray makes the faults: one changed operator, number, comparison or branch each, in the files
that decide numbers. A fault is shown to the tests that run the changed line, the short ones first,
until one fails. Tests that wait for a whole report are not asked (they take minutes and look at
little of it), of those that remain no more than `SECONDS`, and none that fails in a copy of the
project without a fault.
"""

import argparse
import ast
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAUGHT = "training recipe evaluation comparison model weights data claims verdicts remedies"
JUDGED = [f"cxr_helpers/{name}.py" for name in [*TAUGHT.split(), "engine/runs"]]
JUDGED += ["grading/claims.py", "grading/answers.py"]
LEFT_OUT = ".git .venv build runs data __pycache__ node_modules".split()  # of a copy
SECONDS = 20  # of tests a fault, by their own measured time
WHOLE_REPORT = "built"  # the fixture that makes a report
# this file as a plug-in of pytest, and the environment variable that says where it writes
PLUGIN, TIMES = ("-p", "bench.mutants"), "MUTANTS_TIMES"
# each fault gets a fresh process that has imported these already
PROCESSES = multiprocessing.get_context("forkserver")
IMPORTED = (
    "torch torchvision medmnist pandas matplotlib.pyplot seaborn sklearn.metrics scipy.stats "
    "captum.attr nbformat statsmodels.stats.proportion playwright.sync_api"
)
NOT_PLANTED = ("core/Exception", "core/Variable")  # operators of Cosmic Ray
LACKING = "paket penanam kesalahan belum ada; jalankan: uv pip install -e '.[mutants]'"
Fault = tuple[str, int, str, dict, int]  # path, line, operator, its arguments, occurrence


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where type annotations begin and end (line, column): a fault there changes no number."""
    nodes = list(ast.walk(ast.parse(source)))
    parts = [getattr(node, "annotation", None) for node in nodes]
    parts += [getattr(node, "returns", None) for node in nodes]
    return [
        ((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset))
        for part in filter(None, parts)
    ]


def faults(path: str) -> list[list[Fault]]:
    """The faults that can be planted at each place of the file."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    source = (ROOT / path).read_text("utf-8")
    tree, typed, places = get_ast(source), annotations(source), {}
    names = sorted(plugins.operator_names())
    for name in (name for name in names if not name.startswith(NOT_PLANTED)):
        operator_class = plugins.get_operator(name)
        for arguments in operator_class.arguments() or [None]:
            given = dict(arguments.items()) if arguments else {}
            operator, occurrence = operator_class(**given), 0
            for node in ast_nodes(tree):
                for start, _ in operator.mutation_positions(node):
                    if not any(first <= start < last for first, last in typed):
                        fault = (path, start[0], name, given, occurrence)
                        places.setdefault(start, []).append(fault)
                    occurrence += 1
    return [places[start] for start in sorted(places)]


def mutated(fault: Fault) -> str:
    """The file's text with the fault in it."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    path, _, name, arguments, occurrence = fault
    operator = plugins.get_operator(name)(**arguments)
    return mutate_code((ROOT / path).read_text("utf-8"), operator, occurrence)


def compiles(fault: Fault) -> bool:
    try:
        compile(mutated(fault), fault[0], "exec")
    except SyntaxError:
        return False
    return True


def drawn(n: int, seed: int) -> list[Fault]:
    """n faults: places drawn at random from all, of each a kind from those possible there."""
    draw, planted = random.Random(seed), []
    places = [place for path in JUDGED for place in faults(path)]
    for place in draw.sample(places, len(places)):
        fault = next(filter(compiles, draw.sample(place, len(place))), None)
        planted += [fault] if fault else []
        if len(planted) == n:
            break
    return planted


spent: dict[str, float] = {}  # seconds of each test that has passed, its set-up included


def pytest_collection_modifyitems(items) -> None:
    items[:] = [item for item in items if WHOLE_REPORT not in item.fixturenames]


def pytest_runtest_logreport(report) -> None:
    if report.when == "setup" and report.passed:
        spent[report.nodeid] = report.duration
    elif report.when == "call" and report.passed:
        spent[report.nodeid] += report.duration
    elif not report.passed:
        spent.pop(report.nodeid, None)


def pytest_sessionfinish(session) -> None:
    if TIMES in os.environ and not hasattr(session.config, "workerinput"):
        Path(os.environ[TIMES]).write_text(json.dumps(spent), encoding="utf-8")


def measure(folder: Path) -> None:
    """One run of all tests: how long each takes (times.json), which line each runs (.coverage)."""
    ini, included = folder / "coverage.ini", "".join(f"\n    */{path}" for path in JUDGED)
    ini.write_text(f"[run]\ndata_file = {folder}/.coverage\ninclude ={included}\n", "utf-8")
    words = f"-n 2 --dist worksteal --cov --cov-config={ini} --cov-context=test --cov-report="
    environment = os.environ | {TIMES: str(folder / "times.json")}
    command = [sys.executable, "-m", "pytest", "-q", *PLUGIN, *words.split()]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)


def lines_run(folder: Path) -> dict[str, dict[int, set[str]]]:
    """{path: {line: tests that run it}} of `measure`; the test "" stands for an import."""
    from coverage import CoverageData

    data, lines = CoverageData(str(folder / ".coverage")), {}
    data.read()
    for path in JUDGED:
        contexts = data.contexts_by_lineno(str(ROOT / path))
        lines[path] = {n: {c.split("|")[0] for c in contexts[n]} for n in contexts}
    return lines


def chosen(fault: Fault, lines: dict, times: dict[str, float]) -> list[str]:
    """The tests that run the fault's line, the short ones first; those of the whole file where
    importing it runs the line. Only tests in `times` are asked.
    """
    path, line = fault[:2]
    tests = lines[path].get(line, {""})
    if "" in tests:  # a constant, a default, a definition
        tests = set().union(*lines[path].values())
    asked, seconds = [], 0.0
    for test in sorted(tests & times.keys(), key=times.get):
        seconds += times[test]
        if asked and seconds > SECONDS:
            break
        asked.append(test)
    return asked


def run(words: list[str], tree: Path) -> None:
    """In a process of its own: pytest with these words on the copy of the project in `tree`; exits
    as pytest does.
    """
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)  # of the processes that tests start
    sys.path.insert(0, str(tree))
    import pytest

    os._exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *words]))


def passing(tests: list[str], tree: Path, times: Path) -> dict[str, float]:
    """{test: seconds} of those that pass in a copy without a fault, run as a fault's tests are."""
    os.environ[TIMES] = str(times)
    words = [*PLUGIN, "--continue-on-collection-errors", *tests]
    running = PROCESSES.Process(target=run, args=(words, tree))
    running.start()
    running.join()
    return json.loads(times.read_text("utf-8"))


def verdict(fault: Fault, tests: list[str], tree: Path, seconds: float) -> str:
    """`survived`, `killed`, or `slow` where the tests did not end in `seconds`: a person would
    notice that too. `untested` without tests.
    """
    if not tests:
        return "untested"
    original = (tree / fault[0]).read_text("utf-8")
    (tree / fault[0]).write_text(mutated(fault), encoding="utf-8")
    running = PROCESSES.Process(target=run, args=(["-x", *tests], tree))
    running.start()
    running.join(seconds)
    ended = running.exitcode
    if ended is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.join()
    (tree / fault[0]).write_text(original, encoding="utf-8")
    return {None: "slow", 0: "survived"}.get(ended, "killed")


def judge(planted: list[Fault], folder: Path, jobs: int) -> list[str]:
    """The verdict on each fault; those of an earlier, interrupted call are read from `folder`."""
    lines, kept = lines_run(folder), folder / "verdicts.jsonl"
    kept.touch()
    times = json.loads((folder / "times.json").read_text("utf-8"))
    done = dict(json.loads(row) for row in kept.read_text("utf-8").splitlines())
    with tempfile.TemporaryDirectory() as place:
        free = [Path(place, str(n)) for n in range(jobs)]
        for tree in free:
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        asked = sorted(set().union(*(chosen(fault, lines, times) for fault in planted)))
        sound = passing(asked, free[0], folder / "copy.json")
        for test in sorted(set(asked) - sound.keys()):
            print(f"left out, fails in a copy without a fault: {test}", flush=True)

        def judged(fault: Fault) -> str:
            key = json.dumps(fault)
            if key in done:
                return done[key]
            tests, tree = chosen(fault, lines, sound), free.pop()
            said = verdict(fault, tests, tree, 60 + 5 * sum(map(sound.get, tests)))
            free.append(tree)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, said]) + "\n")
            print(said, *fault[:3], flush=True)
            return said

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(judged, planted))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=320, help="faults, drawn from all places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/mutants", help="resumes there")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if not (find_spec("cosmic_ray") and find_spec("pytest_cov")):
        print(f"Galat: {LACKING}", file=sys.stderr)
        return 2
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(OMP_NUM_THREADS="1", CXR_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    warnings.simplefilter("ignore")  # of what compiles with a fault in it
    PROCESSES.set_forkserver_preload(IMPORTED.split())
    if not (folder / "times.json").exists():
        measure(folder)
    planted = drawn(options.n, options.seed)
    verdicts = judge(planted, folder, options.jobs)
    pairs = list(zip(planted, verdicts, strict=True))
    noticed = [fault[0] for fault, said in pairs if said in ("killed", "slow")]
    for path in JUDGED:
        n = sum(fault[0] == path for fault in planted)
        print(f"| {path} | {n} | {noticed.count(path)} |")
    print(f"{len(noticed)} of {len(pairs)}: {len(noticed) / len(pairs):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
