"""`python -m bench.grading_class`: forty hand-ins, attacks among them, as planned and in time?"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil

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
        # every hand-in also holds our own notebooks, solved, and the report of BUILD
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
        before, load, begun = made.state(base), os.getloadavg()[0], time.time()
        used = sum(psutil.cpu_times()[:3])  # of the computer: a box takes its own along
        words = f"nilai KUMPULAN={base}/kumpulan KUNCI={teacher}/kunci BUILD={base}/b"
        ran = project.make(*words.split())
        seconds, spent = time.time() - begun, sum(psutil.cpu_times()[:3]) - used
        faults = [f"{path} changed" for path in set(before.items()) - set(made.state(base).items())]
        faults += [ran.stdout] if ran.returncode else made.faults(planted, base / "b/nilai", read)
    print(*faults, sep="\n")
    said = f"{number(seconds, 0)} s, {number(seconds / SIZE, 1)} s sebuah, prosesor"
    print(f"{SIZE} kumpulan: {said} {number(spent, 0)} s; beban sebelumnya {number(load, 1)}")
    return bool(faults) or seconds > MOST * SIZE


if __name__ == "__main__":
    sys.exit(main())
