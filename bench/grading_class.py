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
        shutil.copytree(teacher / "solutions", school / "grading/solutions", dirs_exist_ok=True)
        shutil.copytree(teacher / "notebooks", school / "notebooks", dirs_exist_ok=True)
        if files.data_folder().exists():
            shutil.copytree(files.data_folder(), school / "data")
        read = course.read_course(school / "notebooks", None, school / "grading/solutions")
        for path in (files.ROOT / "notebooks").glob("0*.ipynb"):
            notebook = nbformat.read(path, 4)
            for cell in notebook.cells:
                cell.source = read.solutions.get(answers.identity(cell), cell.source)
            made.MORE[f"notebooks/{path.name}"] = nbformat.writes(notebook)
        planted = made.planted_class([str(teacher), str(school)], SIZE)
        made.lay_out(planted, base / "kumpulan")
        before, load, begun, used = made.state(base), os.getloadavg(), time.time(), os.times()
        words = {"KUMPULAN": base / "kumpulan", "KUNCI": teacher / "kunci", "BUILD": base / "b"}
        ran = project.make("nilai", *[f"{name}={place}" for name, place in words.items()])
        seconds, spent = time.time() - begun, sum(os.times()[2:4]) - sum(used[2:4])
        faults = (
            made.faults(planted, base / "b/nilai/nilai.csv", read) if not ran.returncode else []
        )
        faults += [
            path for path, digest in made.state(base).items() if before.get(path, digest) != digest
        ]
    print(ran.stdout, *faults, sep="\n")
    print(f"{len(planted)} kumpulan: {number(seconds, 0)} s, {number(seconds / SIZE, 1)} s sebuah;")
    print(f"prosesor {number(spent, 0)} s; beban sebelumnya {number(load[0], 1)}")
    return bool(faults or ran.returncode) or seconds > MOST * SIZE


if __name__ == "__main__":
    sys.exit(main())
