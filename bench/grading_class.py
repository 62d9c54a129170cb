"""A class of forty graded in one run, attacks and odd deliveries among it (tests/grading_class.py):
`python -m bench.grading_class`. Each hand-in holds our own notebooks with every exercise solved,
and the report of BUILD if there is one. Exit status 1 where anything is not as planned.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from cxr_helpers.engine import files
from cxr_helpers.engine.indonesian import number
from grading import answers, course, submit
from tests import grading_class as made
from tests.conftest import Project

SIZE, MOST = 40, 6  # hand-ins; seconds of one


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        teacher, school = made.course_folder(base / "rumah"), base / "kuliah"
        school.mkdir()
        project, build = Project(school), Path(os.environ.get("BUILD") or "build").resolve()
        made.MORE |= submit.missing(school, build, "", "")[1]
        for part, place in (("solutions", "grading/solutions"), ("notebooks", "notebooks")):
            shutil.copytree(teacher / part, school / place, dirs_exist_ok=True)
        (school / "data").symlink_to(files.data_folder())
        read = course.read_course(school / "notebooks", None, school / "grading/solutions")
        for path in (files.ROOT / "notebooks").glob("0*.ipynb"):
            notebook = nbformat.read(path, 4)
            for cell in notebook.cells:
                cell.source = read.solutions.get(answers.identity(cell), cell.source)
            made.MORE[f"notebooks/{path.name}"] = nbformat.writes(notebook)
        planted = made.planted_class([str(teacher), str(school)], SIZE)
        made.lay_out(planted, base / "kumpulan")
        before, load, begun, used = made.state(base), os.getloadavg()[0], time.time(), os.times()
        words = {"KUMPULAN": base / "kumpulan", "KUNCI": teacher / "kunci", "BUILD": base / "b"}
        ran = project.make("nilai", *[f"{name}={place}" for name, place in words.items()])
        seconds, spent = time.time() - begun, sum(os.times()[2:4]) - sum(used[2:4])
        after, faults = made.state(base), [ran.stdout] if ran.returncode else []
        faults += [f"{path} was changed" for path in before if after.get(path) != before[path]]
        faults += faults or made.faults(planted, base / "b/nilai/nilai.csv", read)
    print(*faults, sep="\n")
    print(
        f"{SIZE} kumpulan: {number(seconds, 0)} s, {number(seconds / SIZE, 1)} s sebuah, prosesor"
    )
    print(f"{number(spent, 0)} s; beban sebelumnya {number(load, 1)}")
    return bool(faults) or seconds > MOST * SIZE


if __name__ == "__main__":
    sys.exit(main())
