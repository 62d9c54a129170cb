"""How many planted faults the tests find: `python -m bench.mutants`, with the extra `mutants`
installed.

Cosmic Ray makes the faults: one changed operator, number, comparison or branch each, in the files
that decide numbers. A fault is shown to the tests that run the changed line, the short ones first,
until one fails. Tests that wait for a whole report are not asked (they take minutes and look at
little of it), and of those that remain no more than `SECONDS`.
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
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JUDGED = [
    f"cxr_helpers/{n}.py"
    for n in "training recipe evaluation comparison model weights data claims".split()
]
JUDGED += [f"cxr_helpers/{n}.py" for n in "verdicts remedies engine/runs".split()]
JUDGED += ["grading/claims.py", "grading/answers.py"]
SECONDS = 20  # of tests a fault, by their own measured time
WHOLE_REPORT = "built"  # the fixture that makes a report
# each fault gets a fresh process that has imported torch already
PROCESSES = multiprocessing.get_context("forkserver")
IMPORTED = (
    "torch torchvision medmnist pandas matplotlib.pyplot seaborn sklearn.metrics "
    "scipy.stats captum.attr nbformat"
)
IMPORTED += " statsmodels.stats.proportion playwright.sync_api"
OPERATORS = (
    "NumberReplacer ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr "
    "ReplaceOrWithAnd AddNot"
)
OPERATORS += (
    " ReplaceBreakWithContinue ReplaceContinueWithBreak ZeroIterationForLoop RemoveDecorator"
)
FAMILIES = ("ReplaceBinaryOperator_", "ReplaceComparisonOperator_", "ReplaceUnaryOperator_")


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The places (line, column) to (line, column) of type annotations, in which a fault changes no
    number.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                found.append(
                    ((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset))
                )
    return found


def faults(path: str) -> list[list[tuple]]:
    """For each place of the file at which a fault can be planted: [(path, line, operator, its
    arguments, occurrence)].
    """
    import cosmic_ray.plugins as plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    source = (ROOT / path).read_text("utf-8")
    tree, typed, places = get_ast(source), annotations(source), {}
    names = [n for n in sorted(plugins.operator_names()) if n.split("/")[1].startswith(FAMILIES)]
    for name in names + [f"core/{n}" for n in OPERATORS.split()]:
        operator_class = plugins.get_operator(name)
        for arguments in operator_class.arguments() or [None]:
            operator = operator_class(**dict(arguments.items()) if arguments else {})
            occurrence = 0
            for node in ast_nodes(tree):
                for start, _ in operator.mutation_positions(node):
                    if not any(first <= start < last for first, last in typed):
                        given = dict(arguments.items()) if arguments else {}
                        places.setdefault(start, []).append(
                            (path, start[0], name, given, occurrence)
                        )
                    occurrence += 1
    return [places[start] for start in sorted(places)]


def mutated(fault: tuple) -> str:
    """The file's text with the fault in it."""
    import cosmic_ray.plugins as plugins
    from cosmic_ray.mutating import mutate_code

    path, _, name, arguments, occurrence = fault
    return mutate_code(
        (ROOT / path).read_text("utf-8"), plugins.get_operator(name)(**arguments), occurrence
    )


def drawn(n: int, seed: int) -> list[tuple]:
    """n faults at places drawn at random from all, each of a kind drawn at random from those
    possible there.
    """
    draw, found = random.Random(seed), []
    places = [place for path in JUDGED for place in faults(path)]
    for place in draw.sample(places, len(places)):
        fault = next(filter(compiles, draw.sample(place, len(place))), None)
        found += [fault] if fault else []
        if len(found) == n:
            break
    return found


def measure(folder: Path) -> None:
    """One run of all tests: which of them runs which line (.coverage), how long each takes, which
    waits for a report.
    """
    (folder / "coverage.ini").write_text(
        "[run]\ninclude =" + "".join(f"\n    */{path}" for path in JUDGED), encoding="utf-8"
    )
    asked = (
        f"--cov --cov-config={folder}/coverage.ini --cov-context=test "
        "--cov-report= -p bench.mutants -q"
    )
    environment = os.environ | {
        "COVERAGE_FILE": str(folder / ".coverage"),
        "MUTANTS_TIMES": str(folder / "times.json"),
    }
    subprocess.run(
        ["make", "test", f"PYTHON={sys.executable}", f"PYTEST={asked}"],
        cwd=ROOT,
        env=environment,
        check=False,
    )


TIMES: dict[str, float] = {}


def pytest_runtest_logreport(report) -> None:
    """As a plug-in of pytest: the time of each test, and the longest set-up of each file, which any
    test of it may need.
    """
    file = report.nodeid.split("::")[0]
    if report.when == "setup":
        waits = dict(report.user_properties).get("waits")
        TIMES[report.nodeid] = float("inf") if waits else 0.0
        TIMES[file] = max(TIMES.get(file, 0.0), 0.0 if waits else report.duration)
    elif report.when == "call":
        TIMES[report.nodeid] += report.duration


def pytest_runtest_setup(item) -> None:
    if WHOLE_REPORT in item.fixturenames:
        item.user_properties.append(("waits", True))


def pytest_sessionfinish(session) -> None:
    if "MUTANTS_TIMES" in os.environ and not hasattr(session.config, "workerinput"):
        Path(os.environ["MUTANTS_TIMES"]).write_text(json.dumps(TIMES), encoding="utf-8")


def cost(test: str, times: dict[str, float]) -> float:
    """Seconds of a test alone, with the set-up of its file."""
    return times.get(test, float("inf")) + times.get(test.split("::")[0], 0.0)


def chosen(fault: tuple, covered, times: dict[str, float]) -> list[str]:
    """The tests that run the fault's line, the short ones first; those of the whole file where
    importing it runs the line.
    """
    path, line = str(ROOT / fault[0]), fault[1]
    contexts = covered(path)
    tests = {c.split("|")[0] for c in contexts.get(line, []) if c}
    if "" in contexts.get(line, [""]):  # a constant, a default, a definition
        tests |= {c.split("|")[0] for some in contexts.values() for c in some if c}
    spent, asked, opened = 0.0, [], set()
    for test in sorted(tests, key=lambda t: cost(t, times)):
        file = test.split("::")[0]
        more = times.get(test, float("inf")) + (0.0 if file in opened else times.get(file, 0.0))
        if spent + more <= SECONDS or (not asked and more < float("inf")):
            asked, spent = [*asked, test], spent + more
            opened.add(file)
    return asked


def run(tests: list[str], tree: Path) -> None:
    """In a process of its own: these tests on the copy of the project in `tree`; exits as pytest
    does.
    """
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    import pytest

    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


def verdict(fault: tuple, tests: list[str], tree: Path, seconds: float) -> str:
    """`survived`, `killed`, or `slow` where the tests did not end in `seconds`: a person would
    notice that too.
    """
    original = (tree / fault[0]).read_text("utf-8")
    (tree / fault[0]).write_text(mutated(fault), encoding="utf-8")
    running = PROCESSES.Process(target=run, args=(tests, tree))
    running.start()
    running.join(seconds)
    ended = running.exitcode
    if ended is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.join()
    (tree / fault[0]).write_text(original, encoding="utf-8")
    return {None: "slow", 0: "survived"}.get(ended, "killed")


def compiles(fault: tuple) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(mutated(fault), fault[0], "exec")
        except SyntaxError:
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--n", type=int, default=320, help="faults, drawn at random from all places"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "build/mutants",
        help="keeps what is found; resumes there",
    )
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not (given.folder / "times.json").exists():
        measure(given.folder)
    from coverage import CoverageData

    data = CoverageData(str(given.folder / ".coverage"))
    data.read()
    contexts = {}

    def covered(path: str) -> dict:
        return contexts.setdefault(path, data.contexts_by_lineno(path))

    times = json.loads((given.folder / "times.json").read_text("utf-8"))
    plan = given.folder / f"planted-{given.n}-{given.seed}.json"
    if not plan.exists():
        plan.write_text(json.dumps(drawn(given.n, given.seed)), encoding="utf-8")
    planted = [tuple(fault) for fault in json.loads(plan.read_text("utf-8"))]
    kept = given.folder / "found.jsonl"
    done = (
        {json.dumps(r["fault"]): r for r in map(json.loads, kept.read_text("utf-8").splitlines())}
        if kept.exists()
        else {}
    )
    trees = [Path(tempfile.mkdtemp()) / "tree" for _ in range(given.jobs)]
    for tree in trees:
        skipped = shutil.ignore_patterns(
            ".git", ".venv", "build", "runs", "data", "__pycache__", "node_modules"
        )
        shutil.copytree(ROOT, tree, ignore=skipped)
    free = list(trees)

    def judge(fault: tuple) -> dict:
        if json.dumps(fault) in done:
            return done[json.dumps(fault)]
        tree, began = free.pop(), time.monotonic()
        try:
            tests = chosen(fault, covered, times)
            seconds = 60 + 5 * sum(cost(test, times) for test in tests)
            said = verdict(fault, tests, tree, seconds) if tests else "untested"
        finally:
            free.append(tree)
        row = {
            "fault": fault,
            "verdict": said,
            "tests": len(tests),
            "seconds": round(time.monotonic() - began, 1),
        }
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(len(kept.read_text("utf-8").splitlines()), said, *fault[:3], flush=True)
        return row

    for path in JUDGED:
        covered(str(ROOT / path))
    os.environ.update(OMP_NUM_THREADS="1", CXR_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    PROCESSES.set_forkserver_preload(IMPORTED.split())
    with ThreadPoolExecutor(given.jobs) as pool:
        rows = list(pool.map(judge, planted))
    for path in JUDGED:
        counts = Counter(r["verdict"] for r in rows if r["fault"][0] == path)
        print(f"| {path} | {sum(counts.values())} | {counts['killed'] + counts['slow']} |")
    found = sum(r["verdict"] in ("killed", "slow") for r in rows)
    print(f"{found} of {len(rows)}: {found / len(rows):.1%}")
    for tree in trees:
        shutil.rmtree(tree.parent)


if __name__ == "__main__":
    main()
