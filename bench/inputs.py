"""What people really bring: checkpoints, data files and settings, each right or one clear line, and
never anything else.

Run: python -m bench.inputs

It takes about a minute; everything is made on the spot in a folder that is removed again.
Exit status 1 on a fault: a wrong value, something taken that should be refused or refused that
should be taken, a traceback, a message for another reason or without an end.
"""

import dataclasses
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.case import Case, judge, zipped
from bench.odd_weights import checkpoints
from cxr_helpers import data, weights
from cxr_helpers.engine import settings, sources
from cxr_helpers.training import TrainConfig

# --- data -----------------------------------------------------------------------------------------

SPLITS = {"train": 60, "val": 30, "test": 40}


def _made(values: tuple = (0, 1), shape: tuple = (28, 28)) -> dict[str, np.ndarray]:
    """Random images of two or more classes; labels (N,) go through `values` in turn."""
    generator, arrays = np.random.default_rng(0), {}
    for split, n in SPLITS.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array([values[i % len(values)] for i in range(n)])
    return arrays


def _each(arrays: dict, what: str, change: Callable[[np.ndarray], np.ndarray]) -> dict:
    return {name: change(array) if name.endswith(what) else array for name, array in arrays.items()}


def _read(
    arrays: dict,
    name: str = "foto.npz",
    classes: str = "auto",
    size: int = 28,
    said: str = "",
    positive: object = 1,
) -> Callable[[Path], None]:
    """Write, read through the front door, and compare images and labels of the first two classes
    with what was written.
    """

    def run(folder: Path) -> None:
        with open(folder / name, "wb") as file:
            np.savez(file, **arrays)
        dataset = data.load(
            sources.resolve(str(folder / name), size=size, folder=folder / "data"), classes
        )
        for split in SPLITS:
            part, labels = getattr(dataset, split), arrays[f"{split}_labels"]
            flat = (
                labels.argmax(1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)
            )
            images = arrays[f"{split}_images"][part.rows]
            assert np.array_equal(part.labels, flat[part.rows] == positive), (
                f"label {split} berbeda"
            )
            if images.ndim == 3 or images.shape[3] == 1:
                assert np.array_equal(part.images, images.reshape(part.images.shape)), (
                    f"citra {split} berbeda"
                )
            assert set(part.labels) == {0, 1}, f"{split} tidak memuat kedua kelas"
        assert said in dataset.source.note, f"tidak dikatakan: {said}"

    return run


def data_files() -> list[Case]:
    """Data files as students make them, and files that are none."""
    two, three, chest = _made(), _made((0, 1, 2)), _made()
    for split, n in SPLITS.items():
        chest[f"{split}_labels"] = np.eye(14, dtype=np.uint8)[np.where(np.arange(n) % 2, 7, 1)]
    rare = _each(
        _each(two, "images", lambda a: np.repeat(a, 12, 0)),
        "labels",
        lambda a: np.arange(12 * len(a)) % 300 > 0,
    )
    flat = {**two, "train_images": np.full((60, 28, 28), 7, np.uint8)}
    column = _each(two, "labels", lambda a: a[:, None])
    taken = {
        "label (N,), nama sembarang": _read(two, "foto (1).npz", "sehat,sakit"),
        "label (N, 1)": _read(column),
        "citra (N, 28, 28, 1)": _read(_each(two, "images", lambda a: a[..., None])),
        "urutan Fortran": _read(_each(two, "images", np.asfortranarray)),
        "label berupa kata": _read(_made(("sakit", "normal")), positive="sakit"),
        "satu kolom tiap kelas": _read(
            _each(two, "labels", lambda a: np.eye(2, dtype=np.uint8)[a])
        ),
        "tiga kelas bernomor": _read(three, classes="2,1"),
        "label −1 dan 1": _read(_made((-1, 1))),
        "label benar dan salah": _read(_made((False, True)), positive=True),
        "citra warna": _read(_made(shape=(28, 28, 3))),
        "susunan ChestMNIST": _read(chest, positive=7),
        "pneumoniamnist (1).npz": _read(column, "pneumoniamnist (1).npz", "normal,pneumonia"),
        "tanpa akhiran": _read(two, "data_akhir"),
        "64 piksel": _read(_made(shape=(64, 64)), size=64),
        "kelas langka 1:299": _read(rare, positive=True, said="hanya memuat"),
        "nama dengan $, %, : dan kutip": _read(two, "foto 'saya' $x 100%: é.npz", "sehat,sakit"),
        "nama kelas beraksen": _read(_made(("sehat", "sakit berat – é")), positive="sehat"),
        "dipadatkan dan berurutan lain": _read(dict(reversed(two.items()))),
        "larik tambahan": _read({**two, "catatan": np.arange(3)}),
        "citra polos": _read(flat, said="sama persis"),
        "urutan byte besar": _read(_each(two, "labels", lambda a: a.astype(">i8"))),
        "satu kolom benar/salah tiap kelas": _read(
            _each(two, "labels", lambda a: np.eye(2, dtype=bool)[a])
        ),
        "label (N,) dan (N, 1) bercampur": _read({**two, "val_labels": two["val_labels"][:, None]}),
        "nomor kelas sangat besar": _read(_made((0, 10**12)), positive=10**12),
        "nama kelas berkoma": _read(
            _made(("sakit", "sehat, dengan catatan")), positive="sehat, dengan catatan"
        ),
        "akhiran .NPZ": _read(two, "DATA.NPZ"),
        "nama berisi ganti baris": _read(two, "foto\nsaya.npz"),
    }
    refused = {
        "citra float": (_each(two, "images", lambda a: a / 255), "float64"),
        "citra uint16": (_each(two, "images", lambda a: a.astype(np.uint16)), "uint16"),
        "citra tidak persegi": (_made(shape=(28, 64)), "28×64"),
        "citra tanpa tinggi": (_made(shape=(784,)), "784"),
        "split kosong": (
            {**two, "val_images": two["val_images"][:0], "val_labels": two["val_labels"][:0]},
            "split val",
        ),
        "label NaN": (_each(two, "labels", lambda a: np.where(a == 0, np.nan, a)), "float64"),
        "huruf besar pada nama larik": (
            {name.upper(): array for name, array in two.items()},
            "TRAIN_IMAGES",
        ),
        "citra 32 piksel": (_made(shape=(32, 32)), "ubah ukurannya"),
        "citra 64 piksel dengan SIZE=28": (_made(shape=(64, 64)), "SIZE=64"),
        "empat kanal": (_made(shape=(28, 28, 4)), "28, 28, 4"),
        "label kosong": (_made(("", "sakit")), "kosong atau nan"),
        "label nan dari tabel": (_made(("sehat", "sakit", "nan")), "kosong atau nan"),
        "ejaan label berbeda": (_made(("Sakit", "sakit ", "sehat")), "samakan ejaannya"),
        "label berupa byte": (_each(two, "labels", lambda a: a.astype("S1")), "S1"),
        "kanal di depan": (_made(shape=(1, 28, 28)), "(60, 1, 28, 28)"),
        "citra int8": (_each(two, "images", lambda a: a.astype(np.int8)), "int8"),
        "label tanggal": ({**two, "test_labels": np.zeros(40, "M8[s]")}, "datetime64"),
        "label float": (_each(two, "labels", lambda a: a.astype(float)), "float64"),
        "satu kelas saja": (_each(two, "labels", np.zeros_like), "1 nilai"),
        "label kurang satu": ({**two, "val_labels": two["val_labels"][1:]}, "29 baris"),
        "tanpa val": ({n: a for n, a in two.items() if not n.startswith("val")}, "val_images"),
        "nama larik lain": (
            {"x_train": two["train_images"], "y_train": two["train_labels"]},
            "x_train",
        ),
        "kelas hilang dari test": (_each(two, "test_labels", np.ones_like), "split test"),
        "larik objek": ({**two, "val_labels": np.array([{}] * 30, object)}, "object"),
    }
    raw = {
        "gambar PNG": ("foto.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "gambar PNG"),
        "gambar JPEG bernama .npz": ("foto.npz", b"\xff\xd8\xff\xe0" + bytes(50), "gambar JPEG"),
        "halaman web": ("chestmnist.npz", b"<!doctype html><title>404</title>", "halaman web"),
        "penunjuk Git LFS": (
            "chestmnist.npz",
            b"version https://git-lfs.github.com/spec/v1\n",
            "Git LFS",
        ),
        "pickle": ("data.npz", pickle.dumps([1, 2]), "bukan npz"),
        "kosong": ("data.npz", b"", "rusak"),
        "CSV": ("data.csv", b"gambar,label\na.png,1\n", "data.csv"),
        "zip tanpa larik": ("foto.npz", zipped({"foto/a.png": b"x"}), "foto/a.png"),
        "di dalam folder zip": (
            "a.npz",
            zipped({f"data/{name}.npy": b"" for name in two}),
            "data/train_images",
        ),
        "npy bernama .npz": ("a.npz", b"\x93NUMPY\x01\x00v\x00" + bytes(118), "a.npz"),
    }
    cases = [Case("data", name, run) for name, run in taken.items()]
    cases += [Case("data", name, _read(arrays), line) for name, (arrays, line) in refused.items()]
    cases += [
        Case("data", name, _raw(file, content), line) for name, (file, content, line) in raw.items()
    ]
    bad = (
        ("https://contoh.invalid/a.npz", "alamat"),
        ("/dev/null", "bukan berkas"),
        ("a\0.npz", "tidak ada"),
        ("-rf", "tidak dikenal"),
    )
    for word, line in (
        *bad,
        ("chestmnst", "tidak dikenal"),
        ("organmnist3d", "3D"),
        ("tidak/ada.npz", "tidak ada"),
    ):
        cases.append(
            Case(
                "data",
                f"DATA={word!r}",
                lambda folder, word=word: sources.resolve(word, folder=folder),
                line,
            )
        )
    return cases


def _raw(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (
        (folder / name).write_bytes(content),
        sources.resolve(str(folder / name), folder=folder),
    )


# --- settings -------------------------------------------------------------------------------------


def _parsed(expected: object, **given) -> Callable[[Path], None]:
    def run(_folder: Path) -> None:
        found = getattr(settings.parse(**given), next(iter(given)))
        assert found == expected and type(found) is type(expected), f"menjadi {found!r}"

    return run


def _config(expected: object, **given) -> Callable[[Path], None]:
    def run(_folder: Path) -> None:
        config = TrainConfig(**given)
        found = getattr(config, next(iter(given)))
        assert found == expected and type(found) is type(expected), f"menjadi {found!r}"
        json.dumps(dataclasses.asdict(config))

    return run


def settings_given() -> list[Case]:
    """Settings as a shell, a notebook or NumPy hands them over."""
    eight, half = np.array(8), np.float32(0.5)
    return [
        Case("pengaturan", "SEED='3'", _parsed(3, seed="3")),
        Case("pengaturan", "SEED=numpy.int64(3)", _parsed(3, seed=np.int64(3))),
        Case("pengaturan", "SEED=3.0", _parsed(3, seed=3.0)),
        Case("pengaturan", "SEED=numpy.float32(3)", _parsed(3, seed=np.float32(3))),
        Case("pengaturan", "SEED=' 7 '", _parsed(7, seed=" 7 ")),
        Case("pengaturan", "SIZE=numpy.int64(64)", _parsed(64, size=np.int64(64))),
        Case("pengaturan", "PRESET=numpy.str_('quick')", _parsed("quick", preset=np.str_("quick"))),
        Case("pengaturan", "DATA=''", _parsed("auto", data="")),
        Case("pengaturan", "SEEDS=numpy.int64(5)", _parsed(5, seeds=np.int64(5))),
        Case("pengaturan", "SEEDS=''", _parsed(None, seeds="")),
        Case("pengaturan", "CLASSES=' a,b '", _parsed("a,b", classes=" a,b ")),
        Case("pengaturan", "SEED=numpy.array([3])", _parsed(3, seed=np.array([3])), "SEED=[3]"),
        Case("pengaturan", "SEED=None", _parsed(0, seed=None), "SEED=None"),
        Case("pengaturan", "SEED=NaN", _parsed(0, seed=float("nan")), "SEED=nan"),
        Case("pengaturan", "SEED=tak hingga", _parsed(0, seed=float("inf")), "SEED=inf"),
        Case("pengaturan", "SEED=1e3", _parsed(0, seed="1e3"), "SEED=1e3"),
        Case("pengaturan", "SEEDS=101", _parsed(0, seeds=101), "SEEDS=101"),
        Case("pengaturan", "PRECISION=half", _parsed("", precision="half"), "PRECISION=half"),
        Case("pengaturan", "REPEAT=ya", lambda _: settings.parse_repeat("ya"), "REPEAT=ya"),
        Case("pengaturan", "N_JOBS=0", lambda _: settings.parse_jobs(0.5), "N_JOBS"),
        Case("pengaturan", "PRESET=Quick", _parsed("", preset="Quick"), "PRESET=Quick"),
        Case("pengaturan", "SEED=-1", _parsed(0, seed=-1), "SEED=-1"),
        Case("pengaturan", "SEED=1.5", _parsed(0, seed=1.5), "SEED=1.5"),
        Case("pengaturan", "SEED=1_000", _parsed(0, seed="1_000"), "SEED=1_000"),
        Case("pengaturan", "SEED=٣", _parsed(0, seed="٣"), "SEED="),
        Case("pengaturan", "SEED dengan 5.000 angka", _parsed(0, seed="9" * 5000), "SEED="),
        Case("pengaturan", "SEED=True", _parsed(0, seed=True), "SEED=True"),
        Case("pengaturan", "PRESET=cepat", _parsed("", preset="cepat"), "PRESET=cepat"),
        Case("pengaturan", "DEVICE=gpu", _parsed("", device="gpu"), "DEVICE=gpu"),
        Case("pengaturan", "SIZE=32", _parsed(0, size=32), "SIZE=32"),
        Case("pengaturan", "N_JOBS=dua", lambda _: settings.parse_jobs("dua"), "N_JOBS"),
        Case(
            "pengaturan",
            "CLUSTER=http://a",
            lambda _: settings.parse_jobs(1, "http://a"),
            "CLUSTER",
        ),
        Case(
            "pengaturan", "WEIGHTS=imagnet", lambda _: weights.resolve_weights("imagnet"), "imagnet"
        ),
        Case(
            "pengaturan",
            "WEIGHTS=~orang/a.pth",
            lambda _: weights.resolve_weights("~tidak-ada/a.pth"),
            "tidak ditemukan",
        ),
        Case("pengaturan", "epochs=numpy.int64(3)", _config(3, epochs=np.int64(3))),
        Case("pengaturan", "epochs='3'", _config(3, epochs="3")),
        Case("pengaturan", "batch_size=numpy.array(8)", _config(8, batch_size=eight)),
        Case("pengaturan", "lr='1e-3'", _config(0.001, lr="1e-3")),
        Case("pengaturan", "lr=numpy.float32(0.5)", _config(0.5, lr=half)),
        Case("pengaturan", "patience='4'", _config(4, patience="4")),
        Case("pengaturan", "seed=torch.tensor(5)", _config(5, seed=torch.tensor(5))),
        Case("pengaturan", "epochs=2.5", _config(0, epochs=2.5), "epochs=2.5"),
        Case("pengaturan", "epochs=None", _config(0, epochs=None), "epochs=None"),
        Case("pengaturan", "lr='0,001'", _config(0, lr="0,001"), "titik"),
        Case("pengaturan", "lr=NaN", _config(0, lr=float("nan")), "lr=nan"),
        Case("pengaturan", "lr=[1]", _config(0, lr=[1]), "lr=[1]"),
        Case("pengaturan", "dropout=1", _config(0, dropout=1), "dropout"),
        Case("pengaturan", "optimizer='lion'", _config("", optimizer="lion"), "optimizer"),
        Case("pengaturan", "augment=('putar',)", _config((), augment=("putar",)), "putar"),
    ]


# --- the table ------------------------------------------------------------------------------------


def main() -> int:
    cases = [*checkpoints(), *data_files(), *settings_given()]
    counts = {"benar": 0, "baris jelas": 0, "CACAT": 0}
    wide = max(len(case.name) for case in cases)
    for case in cases:
        verdict, said = judge(case)
        counts[verdict] += 1
        shown = " ".join(said.split())
        if verdict != "CACAT":
            shown = shown[:90]
        line = f"{case.group:10}  {case.name:{wide}}  {verdict:11}  {shown}"
        print(line.rstrip(), flush=True)
    print(
        ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        + f" dari {len(cases)} masukan."
    )
    return 1 if counts["CACAT"] else 0


if __name__ == "__main__":
    sys.exit(main())
