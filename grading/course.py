"""The assignment as this repository has it: notebooks, solutions, and how answers are probed."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from grading import answers, marking

SOLUTIONS = Path(__file__).with_name("solutions")


@dataclass(frozen=True)
class Course:
    """solutions and probes by grade_id; digest of all that decides a student's points."""

    chapters: tuple[answers.Chapter, ...]
    solutions: dict[str, str]
    rubrics: dict[str, str]
    probes: dict[str, str | None]
    digest: str


def read_course(
    notebooks: Path = files.ROOT / "notebooks",
    own_keys: Path | None = None,
    solutions: Path = SOLUTIONS,
) -> Course:
    """own_keys: the folder KUNCI, whose <grade_id>.py go before the exercises' own tests, and whose
    solusi/ before solutions/. Raises InputError where a folder is missing or nothing is asked.
    """
    if own_keys is not None and not own_keys.is_dir():
        raise InputError(f"KUNCI={own_keys}: folder itu tidak ada.")
    every = tuple(answers.chapter(path) for path in sorted(notebooks.glob("0*.ipynb")))
    chapters = tuple(chapter for chapter in every if chapter.asked)
    if not chapters:
        cure = "tandai selnya dengan `# JAWABAN: nama`."
        raise InputError(f"Tidak ada jawaban yang diminta di {notebooks}: {cure}")
    places = [own_keys / "solusi", solutions] if own_keys else [solutions]
    solved, rubrics, probes = {}, {}, {}
    for name, asked in ((n, asked) for chapter in chapters for n, asked in chapter.asked.items()):
        text = _first(places, f"{name}.md" if asked.essay else f"{name}.py")
        probes[name] = None
        if text is not None:
            (rubrics if asked.essay else solved)[name] = text
            if not asked.essay:
                own = _first([own_keys] if own_keys else [], f"{name}.py")
                probes[name] = marking.probe(asked, text, own)
    parts = [vars(asked) for chapter in chapters for asked in chapter.asked.values()]
    said = json.dumps([[chapter.steps for chapter in chapters], parts, solved, probes])
    return Course(chapters, solved, rubrics, probes, hashlib.sha256(said.encode()).hexdigest())


def _first(places: list[Path], name: str) -> str | None:
    paths = [place / name for place in places if (place / name).is_file()]
    return paths[0].read_text(encoding="utf-8") if paths else None
