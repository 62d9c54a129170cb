"""How many planted faults the tests find: `python -m bench.mutants`, with the extra `mutants`
installed.

Cosmic Ray makes the faults: one changed operator, number, comparison or branch each, in the files
that decide numbers. A fault is shown to the tests that run the changed line, the short ones first,
until one fails: of those that pass in a copy of the project without a fault, no more than `SECONDS`
of them, and none that waits for a whole report (they take minutes and look at little of it).
Tests that do not end notice the fault too, as a person would.
"""

import argparse
import ast
import os
import queue
import random
import shlex
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TAUGHT = "training augment evaluation model adaptation data claims overfitting remedies"
FAULTY = [f"cxr_helpers/{name}.py" for name in [*TAUGHT.split(), "engine/runs"]]
FAULTY += ["grading/claims.py", "grading/answers.py"]
LEFT_OUT = ".git .venv build runs data __pycache__ node_modules".split()  # of a copy
SECONDS = 20  # of tests a fault, by their own measured time
WHOLE_REPORT = "built"  # the fixture that makes a report
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "bench.mutants"]  # with this file as plug-in
ALONE = "-x -p no:cacheprovider -p no:xdist".split()
NOT_PLANTED = "core/Exception"  # operators of Cosmic Ray
LACKING = "paket penanam kesalahan belum ada; jalankan: uv pip install -e '.[mutants]'"


def pytest_collection_modifyitems(items) -> None:
    items[:] = [item for item in items if WHOLE_REPORT not in item.fixturenames]


def program(source: str) -> str:
    """What Python makes of a text, without type annotations: a fault there changes no number."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in {"annotation", "returns"} & set(node._fields):
            setattr(node, name, None)
    return ast.dump(tree)


def plantable(mutation) -> bool:
    """Whether the file with the fault is a program, and another one."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    source = mutation.module_path.read_text("utf-8")
    operator = plugins.get_operator(mutation.operator_name)()
    try:
        return program(mutate_code(source, operator, mutation.occurrence)) != program(source)
    except SyntaxError:
        return False


def plant(session, n: int, seed: int) -> None:
    """Put n faults into the session: places drawn at random from all, of each a kind from those
    possible there.
    """
    from cosmic_ray.commands import init

    init([ROOT / path for path in FAULTY], session, {})
    places, draw, planted = {}, random.Random(seed), []
    for item in session.work_items:
        fault = item.mutations[0]
        if not fault.operator_name.startswith(NOT_PLANTED):
            kinds = places.setdefault((fault.module_path, fault.start_pos), [])
            kinds.append((fault.operator_name, fault.occurrence, item))
    for place in draw.sample(sorted(places), len(places)):
        kinds = draw.sample(sorted(places[place]), len(places[place]))
        planted += [item for *_, item in kinds if plantable(item.mutations[0])][:1]
        if len(planted) == n:
            break
    session.clear()
    session.add_work_items(planted)


def measure(tree: Path, folder: Path) -> None:
    """One run of all tests: how long each takes (times.xml), which line each runs (.coverage)."""
    ini, included = folder / "coverage.ini", "".join(f"\n    */{path}" for path in FAULTY)
    ini.write_text(f"[run]\ndata_file = {folder}/.coverage\ninclude ={included}\n", "utf-8")
    words = f"-n 2 --dist worksteal --cov --cov-config={ini} --cov-context=test --cov-report="
    words = [*words.split(), f"--junitxml={folder / 'times.xml'}"]
    environment = os.environ | {"PYTHONPATH": str(tree)}  # of the processes that tests start, too
    subprocess.run([*PYTEST, *words], cwd=tree, env=environment, check=False)


def passed(folder: Path) -> dict[str, float]:
    """{test: seconds} of the tests that passed when they were measured."""
    tests = {}
    for case in ElementTree.parse(folder / "times.xml").iter("testcase"):
        if not len(case):  # a failure, an error and a skip are parts of their test
            path = case.get("classname").replace(".", "/")
            tests[f"{path}.py::{case.get('name')}"] = float(case.get("time"))
    return tests


def lines_run(tree: Path, folder: Path) -> dict[str, dict[int, set[str]]]:
    """{path: {line: tests that run it}} of `measure`; the test "" stands for an import."""
    from coverage import CoverageData

    data, lines = CoverageData(str(folder / ".coverage")), {}
    data.read()
    for path in FAULTY:
        contexts = data.contexts_by_lineno(str(tree / path))
        lines[path] = {n: {c.split("|")[0] for c in contexts[n]} for n in contexts}
    return lines


def chosen(path: str, line: int, lines: dict, times: dict[str, float]) -> list[str]:
    """The tests that run the line, the short ones first; those of the whole file where importing it
    runs the line. Only tests in `times` are asked.
    """
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


def judge(session, folder: Path, trees: list[Path]) -> None:
    """Ask the tests about each fault of the session that they were not asked about before."""
    from attrs import evolve
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    lines, times, free = lines_run(trees[0], folder), passed(folder), queue.Queue()
    for tree in trees:
        free.put(tree)

    def result(item):
        fault = item.mutations[0]
        path = fault.module_path.relative_to(ROOT).as_posix()
        tests = chosen(path, fault.start_pos[0], lines, times)
        if not tests:
            return WorkResult(worker_outcome=WorkerOutcome.NO_TEST)
        tree, asked = free.get(), shlex.join([*PYTEST, *ALONE, *tests])
        command = f"cd {shlex.quote(str(tree))} && PYTHONPATH=. {asked}"
        seconds = 60 + 5 * sum(map(times.get, tests))
        there = evolve(fault, module_path=tree / path)
        outcome = mutate_and_test([there], shlex.join(["sh", "-c", command]), seconds)
        free.put(tree)
        return outcome

    waiting = session.pending_work_items
    with ThreadPoolExecutor(len(trees)) as pool:
        for item, outcome in zip(waiting, pool.map(result, waiting), strict=True):
            session.set_result(item.job_id, outcome)
            fault = item.mutations[0]
            said = (outcome.test_outcome or outcome.worker_outcome).value
            print(said, fault.module_path, fault.start_pos[0], fault.operator_name, flush=True)


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
    from cosmic_ray.work_db import use_db

    folder = options.folder.resolve()
    trees = [folder / f"copy-{n}" for n in range(options.jobs)]
    for tree in trees:  # a fault that an interrupted call left there is overwritten
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    os.environ.update(OMP_NUM_THREADS="1", CXR_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    warnings.simplefilter("ignore")  # of what is a program with a fault in it
    if not (folder / "times.xml").exists():
        measure(trees[0], folder)
    with use_db(str(folder / f"{options.n}-{options.seed}.sqlite")) as session:
        if not session.num_work_items:
            plant(session, options.n, options.seed)
        judge(session, folder, trees)
        results = session.completed_work_items
    planted = [item.mutations[0].module_path for item, _ in results]
    noticed = [item.mutations[0].module_path for item, r in results if r.test_outcome == "killed"]
    for path in FAULTY:
        print(f"| {path} | {planted.count(ROOT / path)} | {noticed.count(ROOT / path)} |")
    print(f"{len(noticed)} of {len(planted)}: {len(noticed) / len(planted):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
