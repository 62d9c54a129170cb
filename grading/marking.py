"""Run the answers of a hand-in in the box, and judge out here what the probes bring back.

A probe fills `hasil` ({what is checked: value or function}) beside answer and solution alike.
"""

import builtins
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cxr_helpers.engine.errors import InputError
from grading import box, exercises, package
from grading.answers import Answer, Asked, needed

CELL, SETUP = 30, 180  # seconds of an answer with its probe; of a cell of our own
HAND = "periksa tangan"
TYPES = set("Tensor ndarray Series DataFrame function generator method module".split())
TYPES |= set(dir(builtins))
Steps = Sequence[tuple[str, str]]  # as of answers.Chapter


@dataclass
class Part:
    """checks: {what is checked: "" or what is wrong with it}; points None: marked by hand."""

    status: str
    points: float | None
    most: float
    checks: dict[str, str] = field(default_factory=dict)
    error: str = ""
    remark: str = ""


def probe(asked: Asked, solution: str, key: str | None) -> str | None:
    """What asks for an answer's values: key, exercise, or the names that the solution sets."""
    if key is not None:
        return key
    name = asked.grade_id
    if name in exercises.EXERCISES:  # the seed hangs on the solution, which no student has
        seed = int(hashlib.sha256(solution.encode()).hexdigest()[:8], 16)
        return exercises.probe(name, asked.names[0], seed)
    names = re.findall(r"^([A-Za-z]\w*) *(?::[^=\n]+)?=(?!=)", solution, re.M)
    return "\n".join(f"hasil['nilai `{name}`'] = lambda: {name}" for name in names) or None


def run(
    steps: Steps, given: dict[str, str], probes: dict[str, str | None], boxed: bool
) -> dict[str, tuple]:
    """{grade_id: (status or "", error or None, value of its probe)} of the answers given. Who ends
    the kernel is left out; where that ends once more, each answer gets a kernel of its own.
    """
    time = box.Allowance()
    done, ender = _together(steps, given, probes, boxed, time)
    if ender is None:
        return done
    rest = {name: source for name, source in given.items() if name != ender}
    again, second = _together(steps, rest, probes, boxed, time) if rest else ({}, None)
    if second is None:
        return {**again, ender: done[ender]}
    for name, source in given.items():
        again |= _together(steps, {name: source}, probes, boxed, time)[0]
    return again


def _together(
    steps: Steps, given: dict[str, str], probes: dict, boxed: bool, time: box.Allowance
) -> tuple[dict, str | None]:
    """What `run` gives, and the answer that ended the kernel."""
    done, last = {}, None
    mentioned = [*given.values(), *(probes.get(name) or "" for name in given)]
    with box.Kernel(boxed) as kernel:
        for name, ours in needed(steps, mentioned):
            if name and name not in given:
                continue
            last = name or last
            try:
                if name:
                    done[name] = ("", *time.run(kernel, given[name], CELL, probes.get(name) or ""))
                elif last:  # an answer above may have made ours slow
                    time.run(kernel, ours, SETUP)
                elif kernel.run(ours, SETUP)[0]:
                    raise InputError(f"Sel pengajar sendiri gagal saat penilaian ({kernel.said}).")
            except box.Ended as ended:
                if last is None:
                    why = f"Sel pengajar sendiri mengakhiri kernel ({ended.status})."
                    raise InputError(why) from None
                done[last] = (ended.status, None, None)
                return done, last
    return done, None


def _type_name(name) -> str:
    """A type's name, if no invention, which could carry what the key asks to the feedback."""
    return name if isinstance(name, str) and name in TYPES else "objek atau galat buatan sendiri"


def wrong(expected, value) -> str:
    """What is wrong with a value, in words that do not give the right one away; "" for nothing."""
    if package.same(expected, value, exercises.RELATIVE, exercises.ABSOLUTE):
        return ""
    if value is None and expected is not None:
        return "tidak memberi nilai (None)"
    if isinstance(value, dict) and set(value) == {"galat"}:
        return f"berhenti dengan {_type_name(value['galat'])}"
    if isinstance(value, dict) and set(value) == {"objek"}:
        return f"memberi sebuah {_type_name(value['objek'])}, bukan nilai yang diminta"
    numbers = [package.is_number(expected), package.is_number(value)]
    if not all(numbers) and (any(numbers) or type(expected) is not type(value)):
        return "jenis nilainya lain daripada yang diminta"
    if isinstance(expected, list) and len(expected) != len(value):
        return "panjang atau bentuknya lain daripada yang diminta"
    return "nilainya lain"


def grade_part(asked: Asked, answer: Answer, outcome: tuple | None, expected: dict | None) -> Part:
    """The part's status and points, in proportion to the checks that hold."""
    part = Part("", 0.0, asked.points, remark=answer.remark)
    status, error, values = outcome or ("tidak dijalankan", None, None)
    part.error = error or ""
    if answer.source is None or answer.empty:
        part.status = "tidak ada" if answer.source is None else "kosong"
    elif asked.essay or not (status or expected):
        part.status, part.points = HAND, None
    elif status:
        part.status = status
    else:
        values = values if isinstance(values, dict) else {}
        lost = values.get("")  # the key itself stopped
        lost = lost if isinstance(lost, dict) and set(lost) == {"galat"} else None
        part.checks = {name: wrong(y, values.get(name, lost)) for name, y in expected.items()}
        right = sum(not why for why in part.checks.values())
        part.points = round(asked.points * right / len(expected), 2)
        part.status = "galat" if part.error else "salah"
        if right:
            part.status = "benar" if right == len(expected) else "sebagian"
    return part


def expect(
    steps: Steps, solutions: dict[str, str], probes: dict[str, str | None], boxed: bool
) -> dict[str, dict]:
    """The values of the solutions. Raises InputError for a solution or key that does not work."""
    asked = {name: solution for name, solution in solutions.items() if probes.get(name)}
    outcomes = run(steps, asked, probes, boxed) if asked else {}
    expected = {}
    for name, (status, error, value) in outcomes.items():
        items = [item for item in (value or {}).values() if isinstance(item, dict)]
        why = status or error or [item for item in items if item.keys() & {"galat", "objek"}]
        if why or not value:
            raise InputError(f"Kunci atau solusi {name} tidak bekerja: {why or 'tanpa nilai'}.")
        expected[name] = value
    return expected
