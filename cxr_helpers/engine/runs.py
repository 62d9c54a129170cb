"""The run store: runs/<key>/ holds what one fit gave, once, and survives being killed (notebook
02).

key = digest of everything that decides the numbers. Equal key, equal run: it is read, not trained
again.
"""

import ast
import atexit
import csv
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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from safetensors.torch import load_file, save

try:
    import resource
except ImportError:  # Windows
    resource = None
    import psutil

from cxr_helpers import architectures, augment, data, evaluation, model, recipe, training
from cxr_helpers import weights as weight_code
from cxr_helpers.engine import files, owncode
from cxr_helpers.engine.errors import InputError

DIGEST_BYTES = 32
# decide a run's numbers
CODE = (training, recipe, model, architectures, weight_code, augment, owncode, data, evaluation)
# of these modules, only the functions named
PARTIAL = {
    data: ("to_tensor",),
    evaluation: ("area_under_curve",),
    owncode: ("read", "make", "_execute"),
}
# A finished run without its weights; code.py where it holds code of one's own, info.json last.
FILES = ("config.json", "code.py", "history.csv", "predictions.npz", "info.json")


@dataclass(frozen=True)
class Run:
    """One finished fit, read from its folder.

    history: one row an epoch (epoch, train_loss, train_acc, val_loss, val_acc, val_auc), accuracies
    as shares. logits: "train", "val" (epochs, N) as recorded epoch by epoch, and "{split}_best",
    "{split}_last" (N,) in eval mode. Those of the test split are kept too, but only `open_test`
    hands them out. info: best_epoch, parameters, trained_parameters, seconds, images_per_second,
    peak_memory_mb.
    """

    key: str
    folder: Path
    config: training.TrainConfig
    history: pd.DataFrame
    logits: dict[str, np.ndarray]
    info: dict[str, float]

    @property
    def data(self) -> str:
        """The fingerprint of the data set that it was trained and judged on; "" where that is no
        longer known.
        """
        try:
            return json.loads((self.folder / "config.json").read_text())["data"]
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def open_test(self) -> dict[str, np.ndarray]:
        """The logits of the test split: "best" and "last" (N,), "epochs" (epochs, N) of a run that
        keeps its weights, and "extra_best" and "extra_last" where the data hold extra test images.
        To be called once every choice has been made.
        """
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as arrays:
            names = {"epochs": "test", "best": "test_best", "last": "test_last"}
            names |= {name: name for name in ("extra_best", "extra_last")}
            return {name: arrays[kept] for name, kept in names.items() if kept in arrays}

    def weights(self, which: str = "best") -> dict[str, torch.Tensor]:
        """The state dict of the "best" or "last" epoch."""
        return load_file(self.folder / f"{which}.safetensors")


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)  # drops comments and layout too


def _sources() -> list[str]:
    """The code that decides a run's numbers, as it lies on the disk, without comments, docstrings
    and layout.
    """
    texts = []
    for module in CODE:
        text = Path(module.__file__).read_text(encoding="utf-8")
        if module in PARTIAL:
            wanted = [
                n for n in ast.parse(text).body if getattr(n, "name", None) in PARTIAL[module]
            ]
            text = "\n".join(ast.get_source_segment(text, node) for node in wanted)
        texts.append(_without_docstrings(text))  # prose must not retrain anything
    return texts


def _in_memory() -> str:
    """Digest of that code as it lies in memory: another one after a function, class or table was
    replaced there.
    """
    digest = hashlib.sha256()

    def add(name: str, value: object) -> None:
        if isinstance(value, types.FunctionType):
            code = value.__code__
            digest.update(
                f"{name}{code.co_filename}{code.co_names}{code.co_consts!r}".encode() + code.co_code
            )
        elif isinstance(value, type) and value.__module__.startswith("cxr_helpers"):
            for inner, thing in vars(value).items():
                add(f"{name}.{inner}", thing)
        elif isinstance(value, dict):
            for inner, thing in value.items():
                add(f"{name}[{inner!r}]", thing)
        elif isinstance(value, (int, float, str, tuple)):
            digest.update(f"{name}{value!r}".encode())

    for module in CODE:
        for name, value in vars(module).items():
            if not name.startswith("__") and (module not in PARTIAL or name in PARTIAL[module]):
                add(name, value)
    return digest.hexdigest()


def _bytes() -> list[bytes]:
    return [Path(module.__file__).read_bytes() for module in CODE]


# Of the code that runs: the text when it was imported. What is on the disk later may be another
# text.
_READ, _IMPORTED, _UNTOUCHED = _bytes(), _sources(), _in_memory()


def altered() -> str | None:
    """Why what runs is not what its key would say (Indonesian), or None."""
    if _in_memory() != _UNTOUCHED:
        return "fungsi atau kelas cxr_helpers diganti sesudah diimpor"
    try:
        return (
            None
            if _bytes() == _READ or _sources() == _IMPORTED
            else "berkas cxr_helpers diubah sesudah diimpor"
        )
    except (OSError, SyntaxError):
        return "berkas cxr_helpers sedang diubah"


def identity(
    config: training.TrainConfig,
    dataset: data.Dataset,
    weights: weight_code.Weights,
    device: str | torch.device,
) -> dict:
    """Everything that decides the numbers of a run, as JSON can hold it. The key is its digest."""
    return {
        "config": asdict(config),
        "data": dataset.fingerprint,
        "weights": weights.digest,
        "device": torch.device(device).type,
        "threads": torch.get_num_threads() if torch.device(device).type == "cpu" else None,
        "size": dataset.source.size,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "code": hashlib.sha256("\n".join(_IMPORTED).encode()).hexdigest(),
    }


def run_key(what: dict) -> str:
    """16 hexadecimal digits of SHA-256 over the identity."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def save_checkpoint(folder: Path, state: dict) -> None:
    """Write the state after a whole epoch and keep the one before it; a full disk is said and
    training goes on.

    Later ones, which a training that started over has found, go too.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    epoch = len(state["progress"]["history"])
    try:
        files.write(
            folder / f"checkpoint-{epoch:04d}.pt", content + hashlib.sha256(content).digest()
        )
    except OSError as error:
        _say(
            f"Titik simpan epoch {epoch} tidak dapat ditulis ({error.strerror}): "
            "pelatihan tetap berjalan tanpa titik itu."
        )
        return
    kept = [f"checkpoint-{n:04d}.pt" for n in (epoch - 1, epoch)]
    for other in folder.glob("checkpoint-*.pt"):
        if other.name not in kept:
            other.unlink()


def load_checkpoint(folder: Path) -> dict | None:
    """The newest whole checkpoint, or None. One cut short or altered is said, deleted, and the one
    before it is used.
    """
    for path in sorted(folder.glob("checkpoint-*.pt"), reverse=True):
        content = path.read_bytes()
        body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(body).digest() == digest:
            return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        _say(
            f"Titik simpan {path.name} rusak dan tidak dipakai: "
            "pelatihan dilanjutkan dari titik simpan sebelumnya."
        )
        path.unlink()
    return None


def _peak_memory_mb(device: torch.device) -> float:
    """Largest memory of this process so far: of the GPU if it trained there, else resident
    memory.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        return psutil.Process().memory_info().peak_wset / 2**20
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _save(
    folder: Path, outcome: training.Outcome, n_train: int, device: torch.device, keep_weights: bool
) -> None:
    progress = outcome.progress
    arrays = {
        name: torch.stack(epochs) for name, epochs in progress.logits.items() if epochs
    } | outcome.final
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: tensor.numpy() for name, tensor in arrays.items()})
    files.write(folder / "predictions.npz", stream.getvalue())
    files.write(folder / "history.csv", pd.DataFrame(progress.history).to_csv(index=False).encode())
    if keep_weights:
        files.write(folder / "best.safetensors", save(progress.best_weights))
        files.write(folder / "last.safetensors", save(outcome.last_weights))
    seconds = sum(progress.seconds)
    info = {
        "best_epoch": progress.best_epoch,
        "parameters": outcome.parameters,
        "trained_parameters": outcome.trained_parameters,
        "seconds": seconds,
        "images_per_second": n_train * progress.epoch / seconds,
        "peak_memory_mb": _peak_memory_mb(device),
    }
    # last: its presence says that the run is whole
    files.write(folder / "info.json", json.dumps(info, indent=1).encode())
    for checkpoint in folder.glob("checkpoint-*.pt"):
        checkpoint.unlink()


def _read(key: str, folder: Path, config: training.TrainConfig) -> Run | None:
    """The finished run in `folder`, or None when it is missing, unfinished or damaged."""
    try:
        info = json.loads((folder / "info.json").read_text())
        with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
            # all of them, so that damage is noticed here
            every = {name: arrays[name] for name in arrays.files}
        logits = {
            name: array for name, array in every.items() if not name.startswith(("test", "extra"))
        }
        # float() gives back the very numbers written
        with open(folder / "history.csv", encoding="utf-8", newline="") as lines:
            rows = [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)
            ]
        history = pd.DataFrame(rows).astype({"epoch": int})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        _say(f"Hasil tersimpan {folder.name} rusak ({type(error).__name__}): pelatihannya diulang.")
        return None
    return Run(key, folder, config, history, logits, info)


def get(
    config: training.TrainConfig,
    dataset: data.Dataset,
    weights: weight_code.Weights,
    device: str | torch.device = "cpu",
    keep_weights: bool = True,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
    parts: dict | None = None,
) -> Run:
    """Read the run if it is in the store, else train it, going on from its last whole epoch if
    there is one.

    Two processes that ask for one run: one trains, the other waits and reads. `keep_weights=False`
    keeps the predictions only (a ResNet-18 takes 90 MB a run), those of the test split of the best
    and the last epoch alone. `on_epoch` as for `fit`. A run that its key would not describe is
    trained and not kept, and that is said: with `parts`, which no text identifies, or with code
    that was altered after its import. Raises InputError from `fit` and from one's own code, and
    when the store cannot be written.
    """
    what = identity(config, dataset, weights, device)
    key = run_key(what)
    if parts is None and (why := altered()):
        _say(
            f"Pelatihan ini tidak disimpan, karena {why}: "
            "mulai ulang kernel agar hasilnya dapat dipakai lagi."
        )
    if parts is not None or why:
        return _unkept(
            lambda: training.fit(config, dataset, weights, device, on_epoch=on_epoch, parts=parts),
            config,
            dataset,
        )
    folder = files.runs_folder() / key
    try:
        with files.locked(
            folder / "lock", f"Proses lain sedang mengerjakan pelatihan {key}: menunggu hasilnya."
        ):
            run = _read(key, folder, config)
            if run is None or (keep_weights and not (folder / "last.safetensors").exists()):
                files.write(folder / "config.json", json.dumps(what, indent=1).encode())
                if config.own:
                    files.write(folder / "code.py", config.own.encode())
                with owncode.explained() if config.own else nullcontext():
                    outcome = training.fit(
                        config,
                        dataset,
                        weights,
                        device,
                        resume=load_checkpoint(folder),
                        checkpoint=lambda state: save_checkpoint(folder, state),
                        on_epoch=on_epoch,
                        recorded=training.RECORDED if keep_weights else training.RECORDED[:1],
                    )
                if why := altered():  # while it trained
                    _say(f"Pelatihan ini tidak disimpan, karena {why}.")
                    return _unkept(lambda: outcome, config, dataset)
                _save(
                    folder, outcome, len(dataset.train.labels), torch.device(device), keep_weights
                )
                run = _read(key, folder, config)
    except OSError as error:
        raise InputError(
            f"Hasil pelatihan tidak dapat disimpan di {folder} ({error.strerror}): sediakan ruang "
            "atau izin tulis, lalu jalankan lagi; pelatihan dilanjutkan dari titik simpan terakhir."
        ) from None
    return run


def _unkept(
    train: Callable[[], training.Outcome], config: training.TrainConfig, dataset: data.Dataset
) -> Run:
    """A run outside the store, in a folder that lives as long as this process."""
    with owncode.explained():
        outcome = train()
    folder = Path(tempfile.mkdtemp(prefix="cxr-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files.write(folder / "config.json", json.dumps({"data": dataset.fingerprint}).encode())
    _save(folder, outcome, len(dataset.train.labels), torch.device("cpu"), keep_weights=True)
    return _read("", folder, config)


def finished(key: str) -> bool:
    """Whether the store holds the whole run."""
    return (files.runs_folder() / key / "info.json").exists()


def stored(
    config: training.TrainConfig,
    dataset: data.Dataset,
    weights: weight_code.Weights,
    device: str | torch.device,
) -> bool:
    """Whether the store holds the whole run of these settings."""
    return finished(run_key(identity(config, dataset, weights, device)))


def put(key: str, contents: dict[str, bytes]) -> None:
    """Keep the contents of the files named in FILES of a run that was trained elsewhere.

    A run that is already here stays as it is.
    """
    if finished(key):
        return
    folder = files.runs_folder() / key
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name in contents or name != "code.py":
            files.write(folder / name, contents[name])
