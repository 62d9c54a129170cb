"""The run store: runs/<key>/ holds what one training gave, once, and survives being killed. key =
digest of everything that decides the numbers; an equal key is read, not trained again.
"""

import ast
import atexit
import hashlib
import io
import json
import shutil
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError, explained

CHECKPOINT = "checkpoint.pt"  # of a training that has not ended
# A finished run without its weights; code.py where it holds code of one's own, info.json last.
FILES = ("config.json", "code.py", "history.csv", "predictions.npz", "info.json")


@dataclass(frozen=True)
class Task:
    """One training as the store sees it: identity decides its numbers, given is what trains it,
    data the images' fingerprint, own its program; unkept() says why it is not kept (Indonesian), or
    None.
    """

    identity: dict
    given: tuple
    data: str
    own: str = ""
    unkept: Callable[[], str | None] = lambda: None
    keep_weights: bool = True

    @property
    def key(self) -> str:
        """16 hexadecimal digits of SHA-256 over the identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        return files.runs_folder() / self.key

    @property
    def finished(self) -> bool:
        """Whether the store holds the whole run."""
        return (self.folder / "info.json").exists()


def digest(state: dict[str, Tensor]) -> str:
    """16 hexadecimal digits of SHA-256 over the names and values of a state dict."""
    summary = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous().flatten()
        summary.update(name.encode() + values.view(torch.uint8).numpy().tobytes())
    return summary.hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """What a training leaves: as in Run, all logits, and the state dicts "best" and "last"."""

    history: list[dict[str, float]]
    logits: dict[str, Tensor]
    weights: dict[str, dict[str, Tensor]]
    info: dict[str, float]


@dataclass(frozen=True)
class Run:
    """One finished training: logits "train", "val" (epochs, N) as recorded and "{split}_best",
    "{split}_last" (N,) in eval mode; those of the test split only `open_test` hands out.
    """

    key: str
    folder: Path
    config: object
    history: pd.DataFrame
    logits: dict[str, np.ndarray]
    info: dict[str, float]

    @property
    def identity(self) -> dict:
        """Everything that decides its numbers; {} if not known."""
        try:
            return json.loads((self.folder / "config.json").read_text())
        except (OSError, ValueError):
            return {}

    def open_test(self) -> dict[str, np.ndarray]:
        """The logits of the test split, to be opened once every choice has been made: "best",
        "last", and as they were kept "epochs", "extra_best", "extra_last".
        """
        names = {"test": "epochs", "test_best": "best", "test_last": "last"}
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as arrays:
            test = [name for name in arrays.files if name.startswith(("test", "extra"))]
            return {names.get(name, name): arrays[name] for name in test}

    def weights(self, which: str = "best") -> dict[str, Tensor]:
        """The state dict of the "best" or "last" epoch. Raises InputError."""
        path = self.folder / f"{which}.safetensors"
        if not path.exists():
            cure = "dilatih oleh beberapa proses, latihlah lagi dengan n_jobs=1"
            raise InputError(f"Bobot {path} tidak disimpan: {cure}.")
        return load_file(path)


class Code:
    """The code that decides a run's numbers, as it was imported: of `modules`, `only` the named."""

    def __init__(self, modules: tuple[types.ModuleType, ...], only: dict | None = None):
        self._modules, self._only = modules, only or {}
        # what is on the disk later may be another text than that of the code that runs
        self._imported, self._objects = self._texts(), self._in_memory()
        self.digest = hashlib.sha256("\n".join(self._imported).encode()).hexdigest()

    def _texts(self) -> list[str]:
        """The code as it lies on the disk."""
        return [
            _executed(Path(module.__file__).read_text(encoding="utf-8"), self._only.get(module))
            for module in self._modules
        ]

    def _in_memory(self) -> dict[tuple, object]:
        """{place: object} of what the modules, their own classes and their dicts consist of."""
        objects = {}
        for module in self._modules:
            # what begins with __ is Python's: a shell changes the builtins
            own = [name for name in vars(module) if not name.startswith("__")]
            for name in self._only.get(module, own):
                value = objects[module, name] = vars(module)[name]
                parts = value if isinstance(value, dict) else {}
                if getattr(value, "__module__", None) == module.__name__:
                    parts = getattr(value, "__dict__", {})
                objects |= {(module, name, key): part for key, part in parts.items()}
        return {place: value for place, value in objects.items() if str(place[-1])[:2] != "__"}

    def altered(self) -> str | None:
        """Why what runs is not what the digest says (Indonesian), or None."""
        now = self._in_memory()
        if any(now.get(place) is not value for place, value in self._objects.items()):
            return "fungsi atau kelas cxr_helpers diganti sesudah diimpor"
        try:
            same = self._texts() == self._imported
        except (OSError, SyntaxError):
            return "berkas cxr_helpers sedang diubah"
        return None if same else "berkas cxr_helpers diubah sesudah diimpor"


@cache
def _executed(text: str, only: tuple[str, ...] | None) -> str:
    """The code of a text, or of the definitions `only` in it: prose must not retrain anything."""
    tree = ast.parse(text)
    if only:
        tree.body = [node for node in tree.body if getattr(node, "name", None) in only]
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def save_checkpoint(folder: Path, epoch: int, state: dict) -> None:
    """Write the state after so many epochs in place of the one before; a full disk is said."""
    stream = io.BytesIO()
    torch.save(state, stream)
    try:
        files.write(folder / CHECKPOINT, stream.getvalue())
    except OSError as error:
        _say(f"Titik simpan epoch {epoch} tidak dapat ditulis ({error.strerror}): dilewati.")


def load_checkpoint(folder: Path) -> dict | None:
    """The state of the last checkpoint, or None. A damaged one is said."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch's own errors have no common kind
        _say(f"Titik simpan {path} rusak: pelatihan dimulai dari awal.")
        return None


def _save(folder: Path, outcome: Outcome, keep_weights: bool) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: t.numpy() for name, t in outcome.logits.items()})
    files.write(folder / "predictions.npz", stream.getvalue())
    files.write(folder / "history.csv", pd.DataFrame(outcome.history).to_csv(index=False).encode())
    for which, state in outcome.weights.items() if keep_weights else ():
        files.write(folder / f"{which}.safetensors", save(state))
    # last: its presence says that the run is whole
    files.write(folder / "info.json", json.dumps(outcome.info, indent=1).encode())
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _read(key: str, folder: Path, config: object) -> Run | None:
    """The finished run in `folder`, or None when it is missing, unfinished or damaged."""
    try:
        info = json.loads((folder / "info.json").read_text())
        with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
            logits = dict(arrays)  # all of them, so that damage is noticed here
        history = pd.read_csv(folder / "history.csv", dtype=str)
        history = history.astype(float).astype({"epoch": int})  # the very numbers written
        if history.empty or history.isna().any(axis=None):
            raise ValueError("cut short")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        _say(f"Hasil tersimpan {folder.name} rusak ({type(error).__name__}): pelatihannya diulang.")
        return None
    seen = {name: v for name, v in logits.items() if not name.startswith(("test", "extra"))}
    return Run(key, folder, config, history, seen, info)


def get(
    task: Task,
    train: Callable[..., Outcome],
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
) -> Run:
    """Read the run, or train it from its last whole epoch; of two processes that ask, one trains.
    `train(*task.given, …)` is training.fit or alike. Raises InputError.
    """
    how = {"on_epoch": on_epoch, "every_epoch": task.keep_weights}
    why = task.unkept()
    if why is not None:
        if why:
            _say(f"Pelatihan ini tidak disimpan, karena {why}: mulai ulang kernel.")
        with explained():
            outcome = train(*task.given, **how)
        return _outside(task, outcome)
    waiting = f"Proses lain sedang mengerjakan pelatihan {task.key}: menunggu hasilnya."
    try:
        with files.locked(task.folder / "lock", waiting):
            return _kept(task, train, how)
    except OSError as error:
        why = f"Hasil tidak dapat disimpan di {task.folder} ({error.strerror})"
        raise InputError(f"{why}: sediakan ruang atau izin tulis, lalu jalankan lagi.") from None


def _kept(task: Task, train: Callable[..., Outcome], how: dict) -> Run:
    folder, config = task.folder, task.given[0]
    run = _read(task.key, folder, config)
    if run is not None and (not task.keep_weights or (folder / "last.safetensors").exists()):
        return run
    files.write(folder / "config.json", json.dumps(task.identity, indent=1).encode())
    if task.own:
        files.write(folder / "code.py", task.own.encode())
    how |= {"resume": load_checkpoint(folder), "checkpoint": partial(save_checkpoint, folder)}
    with explained() if task.own else nullcontext():
        outcome = train(*task.given, **how)
    why = task.unkept()  # the code may have been altered while it trained
    if why:
        _say(f"Pelatihan ini tidak disimpan, karena {why}.")
        return _outside(task, outcome)
    _save(folder, outcome, task.keep_weights)
    return _read(task.key, folder, config)


def _outside(task: Task, outcome: Outcome) -> Run:
    """A run outside the store, in a folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="cxr-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files.write(folder / "config.json", json.dumps(task.identity).encode())
    _save(folder, outcome, keep_weights=True)
    return _read("", folder, task.given[0])


def read(key: str) -> Run:
    """A finished run of the store by its key. Raises InputError."""
    run = _read(key, files.runs_folder() / key, None)
    if run is None:
        raise InputError(f"Pelatihan {key} tidak ada lagi di {files.runs_folder()}: latih lagi.")
    return run


def stored(code: str, clear: bool = False) -> pd.DataFrame:
    """The trainings in the store with their settings; clear: delete those of another code."""
    rows = []
    for path in files.runs_folder().glob("*/config.json"):
        folder, identity = path.parent, json.loads(path.read_text())
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        row = {"kunci": folder.name, "MB": size, "terbaca": identity["code"] == code}
        rows.append(row | identity["config"])
        if clear and not row["terbaca"]:
            shutil.rmtree(folder)
            _say(f"Pelatihan {folder.name} dari kode lain dihapus ({size:.1f} MB).")
    return pd.DataFrame(rows)


def put(key: str, contents: dict[str, bytes]) -> None:
    """Keep the files of a run that was trained elsewhere, unless it is here already."""
    folder = files.runs_folder() / key
    if (folder / "info.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name in contents:
            files.write(folder / name, contents[name])
