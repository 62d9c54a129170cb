"""The assignment as this repository has it: notebooks, solutions, and how answers are probed."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from grading import answers, marking, package

SOLUTIONS = Path(__file__).with_name("solutions")


@dataclass(frozen=True)
class Course:
    """Solutions, rubrics, probes by grade_id; digest of all that decides a student's points."""

    chapters: tuple[answers.Chapter, ...]
    solutions: dict[str, str]
    rubrics: dict[str, str]
    probes: dict[str, str | None]
    digest: str

    @property
    def asked(self) -> dict[str, answers.Asked]:
        return {name: asked for chapter in self.chapters for name, asked in chapter.asked.items()}

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Of all notebooks, one after the other: a kernel for each would take seconds each."""
        return [step for chapter in self.chapters for step in chapter.steps]


def read_course(
    notebooks: Path = files.ROOT / "notebooks",
    own_keys: Path | None = None,
    solutions: Path = SOLUTIONS,
) -> Course:
    """own_keys: the folder KUNCI, whose keys and solusi/ go before ours. Raises InputError."""
    every = tuple(answers.chapter(path) for path in package.chapters(notebooks))
    chapters = tuple(chapter for chapter in every if chapter.asked)
    if not chapters:
        cure = "tandai selnya dengan `# JAWABAN: nama`."
        raise InputError(f"Tidak ada jawaban yang diminta di {notebooks}: {cure}")
    if own_keys is not None:
        _check_keys(own_keys)
    places = [own_keys / "solusi", solutions] if own_keys else [solutions]
    solved, rubrics, probes = {}, {}, {}
    for name, asked in [item for chapter in chapters for item in chapter.asked.items()]:
        text = _first(places, f"{name}.md" if asked.essay else f"{name}.py")
        probes[name] = None
        if text is not None and asked.essay:
            rubrics[name] = text
        elif text is not None:
            solved[name] = text
            own = _first([own_keys] if own_keys else [], f"{name}.py")
            probes[name] = marking.probe(asked, text, own)
    parts = [vars(asked) for chapter in chapters for asked in chapter.asked.values()]
    said = json.dumps([[chapter.steps for chapter in chapters], parts, solved, probes])
    return Course(chapters, solved, rubrics, probes, hashlib.sha256(said.encode()).hexdigest())


def _check_keys(folder: Path) -> None:
    """Refuse a folder one level too high or too low: solutions would be taken for keys."""
    keys = any("\nhasil[" in "\n" + path.read_text("utf-8") for path in folder.glob("*.py"))
    if not (keys or (folder / "solusi").is_dir() or (folder / "tantangan.json").is_file()):
        raise InputError(f"KUNCI={folder} tidak memuat solusi/ atau kunci: berikan pengajar/.")


def _first(places: list[Path], name: str) -> str | None:
    paths = [place / name for place in places if (place / name).is_file()]
    return paths[0].read_text(encoding="utf-8") if paths else None
