"""Which file the images come from: ChestMNIST, another MedMNIST 2D file, one of a person's own, or
the phantom.

`resolve` finds, fetches or draws it and says how it was chosen; `check_layout` looks at its
headers. data.py reads it. MedMNIST: Yang et al., "MedMNIST v2", Scientific Data 10:41 (2023). An
npz of MedMNIST holds, for train, val and test, `{split}_images` (N, H, W) or (N, H, W, 3) uint8 and
`{split}_labels` (N, L): L = 1 class number, or one column 0/1 per finding. A file of one's own may
also hold (N, H, W, 1) and (N,), and classes of its own (engine/ownfile.py).
"""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from medmnist import INFO

import phantom
from cxr_helpers.engine import download, files, filetypes, ownfile
from cxr_helpers.engine.download import WAITING, DownloadError, Remote, fetch
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.settings import SIZES

SPLITS = ("train", "val", "test")
FLAGS = tuple(flag for flag in INFO if not flag.endswith("3d"))
COLLECT = (
    " Kumpulkan citra Anda dalam satu .npz dengan susunan MedMNIST: numpy.savez(…, train_images=…, "
    "train_labels=…, val_images=…, val_labels=…, test_images=…, test_labels=…)."
)


@dataclass(frozen=True)
class Source:
    """A file that `load` can read, and how it was chosen.

    kind: "chestmnist", "phantom", "medmnist" or "file"; flag: the medmnist data set whose layout
    and class names the file has, "" where it has classes of its own; size: pixels along a side;
    title and note: Indonesian, for the cover; truth: the phantom's ground truth (analysis only);
    names, columns: of an own file the class names, and whether each has a column 0/1.
    """

    kind: str
    flag: str
    path: Path
    size: int
    title: str
    note: str
    truth: Path | None = None
    names: tuple[str, ...] = ()
    columns: bool = False

    @property
    def collection(self) -> str:
        """'ChestMNIST', 'PneumoniaMNIST', …"""
        return INFO[self.flag]["python_class"] if self.flag else "dari berkas pengguna"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Every class of the file, by its number."""
        return tuple(INFO[self.flag]["label"].values()) if self.flag else tuple(self.names)

    @property
    def many_labels(self) -> bool:
        """Whether an image may carry several labels, so that the single-label filter has work to
        do.
        """
        return many_labels(self.flag) if self.flag else self.columns


# --- which file -----------------------------------------------------------------------------------


def resolve(
    data: str = "auto",
    size: int = 28,
    folder: Path = Path("data"),
    seed: int = 0,
    timeout: float = 10.0,
    remote: Remote | None = None,
) -> Source:
    """Find, fetch or draw the file that `data` names.

    data: "auto" (the real ChestMNIST if it is in `folder` or can be fetched, else the phantom; one
    printed line says which), "chestmnist" or another 2D set of MedMNIST (never anything else in its
    place), "phantom", or the path of an npz. size: 28, 64, 128 or 224 pixels. folder: where
    downloads and the phantom are kept. seed: the phantom's patients. timeout: seconds a server may
    be silent (see download.fetch; auto asks once and for at most AUTO_TIMEOUT, the others three
    times). remote: another place for the download than medmnist's, for tests and mirrors. A file
    already in `folder` is used as it is and never altered: with another MD5 than the published one
    it must still have the right layout, and the note says so. The published file is recognised
    there by its MD5 under any name. Raises InputError with one line.
    """
    data, folder = str(data).strip(), Path(folder)
    if said := files.elsewhere():
        print(said, flush=True)
    if size not in SIZES:
        raise InputError(f"SIZE={size} tidak tersedia: pilih {', '.join(map(str, SIZES))}.")
    name = data.lower()
    if name == "auto":
        return _auto(size, folder, seed, timeout, remote)
    if name == "phantom":
        return _phantom(
            size,
            folder,
            seed,
            "Dipilih dengan DATA=phantom; citranya digambar oleh model, bukan citra pasien.",
        )
    if name in FLAGS:
        remote = remote or published(name, size)
        return _official(
            name, size, fetch(remote, _where(name, size, folder, remote), timeout), remote
        )
    if name in INFO:
        raise InputError(
            f"DATA={data} berisi citra 3D, sedangkan jaringan ini membaca citra 2D: "
            f"pilih {', '.join(FLAGS)}."
        )
    if filetypes.ADDRESS.match(data):
        raise InputError(
            f"DATA={data} adalah alamat: "
            "unduh berkasnya dahulu, lalu berikan letaknya di komputer ini."
        )
    path = Path(os.path.expanduser(data))
    if not (name.endswith(".npz") or os.path.exists(path)):
        raise InputError(
            f"DATA={data} tidak dikenal: berikan auto, phantom, berkas .npz yang ada, "
            f"atau salah satu dari {', '.join(FLAGS)}."
        )
    return _given(path, size)


def _auto(size: int, folder: Path, seed: int, timeout: float, remote: Remote | None) -> Source:
    remote = remote or published("chestmnist", size)
    try:
        path = _where("chestmnist", size, folder, remote)
        path = fetch(
            remote,
            path,
            min(timeout, download.AUTO_TIMEOUT),
            retries=0,
            slowest=download.AUTO_SLOWEST,
        )
        source = _official("chestmnist", size, path, remote)
    except DownloadError as error:
        if size != 28:
            raise
        note = (
            f"ChestMNIST tidak dapat diunduh ({error.reason}), maka dipakai fantom: "
            "citra hasil simulasi, bukan citra pasien."
        )
        source = _phantom(size, folder, seed, note)
    print(f"Data: {source.title}. {source.note}", flush=True)
    return source


def published(flag: str, size: int) -> Remote:
    suffix = "" if size == 28 else f"_{size}"
    return Remote(INFO[flag][f"url{suffix}"], f"md5:{INFO[flag][f'MD5{suffix}']}")


def place(flag: str, size: int, folder: Path) -> Path:
    return folder / f"{flag}{'' if size == 28 else f'_{size}'}.npz"


def _where(flag: str, size: int, folder: Path, remote: Remote) -> Path:
    """Where the published file lies in `folder`, under its own name or whatever a person called it,
    or is to be put.
    """
    usual = place(flag, size, folder)
    if usual.exists() or not folder.is_dir():
        return usual
    others = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith((".", "phantom-"))
    ]
    rows = INFO[flag]["n_samples"]["train"]
    return (
        download.recognise(
            remote, [path for path in others if _train_images(path)[:2] == (rows, size)]
        )
        or usual
    )


def _train_images(path: Path) -> tuple[int, ...]:
    """The shape of a file's train_images; () where it has none. Cheaper than the digest of a file
    that is another's.
    """
    try:
        return headers(path)["train_images"][0]
    except InputError:
        return ()


def _official(flag: str, size: int, path: Path, remote: Remote) -> Source:
    channels = check_layout(path, flag, size)
    title = f"{INFO[flag]['python_class']} {size}×{size}"
    if download.digest(path, "md5") == remote.digest:
        note = "Berkas resmi MedMNIST; MD5-nya cocok dengan yang diterbitkan."
    else:
        note = (
            f"Berkas {path.name} bukan berkas resmi: "
            "MD5-nya berbeda dari yang diterbitkan MedMNIST."
        )
    kind = "chestmnist" if flag == "chestmnist" else "medmnist"
    return Source(kind, flag, path, size, title, note + _grey_note(channels))


def _phantom(size: int, folder: Path, seed: int, note: str) -> Source:
    if size != 28:
        raise InputError(
            f"Fantom hanya ada pada ukuran 28, sedangkan SIZE={size}: "
            "pakai SIZE=28 atau DATA=chestmnist."
        )
    with ExitStack() as stack:
        # Where the folder cannot be written nothing needs guarding: ensure reads what is there, or
        # says why it cannot.
        with suppress(OSError):
            stack.enter_context(files.locked(folder / ".fantom.lock", WAITING.format("fantom")))
        path, truth = phantom.ensure(folder, seed)
    return Source("phantom", "chestmnist", path, size, "Fantom toraks sintetis 28×28", note, truth)


def _given(path: Path, size: int) -> Source:
    flag = _guess_flag(path)
    channels = check_layout(path, flag, size)
    title = f"Berkas {' '.join(path.name.split())}, {size}×{size}"
    if flag:
        note = f"Berkas yang Anda berikan, dibaca dengan nama kelas {INFO[flag]['python_class']}."
        return Source("file", flag, path, size, title, note + _grey_note(channels))
    with one_line(path):
        names, columns, _ = ownfile.read_labels(path)
    note = "Berkas yang Anda berikan, dengan kelasnya sendiri." + _grey_note(channels)
    return Source("file", "", path, size, title, note, names=names, columns=columns)


def _grey_note(channels: int) -> str:
    return (
        " Citra berwarna diubah menjadi skala keabuan (luminansi ITU-R BT.601)."
        if channels == 3
        else ""
    )


def _guess_flag(path: Path) -> str:
    """The MedMNIST set that the file is (its digest), or whose layout and name it bears; "" where
    its classes are its own.
    """
    shape, kind = headers(path)["train_labels"]
    with one_line(path):
        published_as = _by_digest().get(download.digest(path, "md5"))
        if published_as or ownfile.has_names(path):
            return published_as or ""
    words = re.findall(r"[a-z]+", path.stem.lower())
    named = [flag for flag in FLAGS if flag in words and not many_labels(flag)]
    if shape[1:] == (len(INFO["chestmnist"]["label"]),):
        return "chestmnist"
    return named[0] if len(named) == 1 and shape[1:] in ((), (1,)) and kind.kind in "uib" else ""


def _by_digest() -> dict[str, str]:
    """{MD5: flag} of every 2D file that MedMNIST publishes."""
    return {published(flag, size).digest: flag for flag in FLAGS for size in SIZES}


# --- is it whole, and of the right shape ----------------------------------------------------------


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or unreadable file raises into one line."""
    try:
        yield
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        what = filetypes.kind(path)
        if what and what != filetypes.TEXT:
            raise InputError(
                f"Berkas {path} bukan npz: "
                f"isinya {what}.{COLLECT if filetypes.is_picture(what) else ''}"
            ) from error
        raise InputError(
            f"Berkas {path} rusak, terpotong, atau bukan npz tanpa pickle: "
            "hapus atau ganti dengan salinan yang utuh, lalu jalankan lagi."
        ) from error
    except OSError as error:
        raise InputError(
            f"Berkas {path} tidak dapat dibaca ({error.strerror or error}): periksa izin bacanya."
        ) from error
    except MemoryError as error:
        raise InputError(
            f"Berkas {path} tidak muat di memori: pakai SIZE yang lebih kecil."
        ) from error


def headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """{array name: (shape, dtype)} of a MedMNIST npz, without reading the arrays themselves."""
    # unlike Path.exists it answers for any text, a name too long for the disk included
    if not os.path.exists(path):
        raise InputError(f"Berkas {path} tidak ada: periksa nama dan foldernya.")
    if not path.is_file():
        raise InputError(
            f"{path} bukan berkas: berikan berkas .npz.{COLLECT if path.is_dir() else ''}"
        )
    wanted = [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")]
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    found = {}
    with one_line(path), zipfile.ZipFile(path) as archive:
        missing = [name for name in wanted if f"{name}.npy" not in archive.namelist()]
        if missing:
            inside = (
                ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:8]) or "kosong"
            )
            raise InputError(
                f"Berkas {path} tidak memuat {', '.join(missing)} (isinya: {inside}): "
                "berikan npz dengan susunan MedMNIST."
            )
        for name in wanted:
            with archive.open(f"{name}.npy") as stream:
                version = np.lib.format.read_magic(stream)
                if version not in read_header:
                    raise ValueError(f"npy {version}")
                shape, _, dtype = read_header[version](stream)
            found[name] = shape, dtype
    return found


def check_layout(path: Path, flag: str, size: int) -> int:
    """The number of colour channels (1 or 3) of a file that has the layout of `flag` ("": its own
    classes) at `size`.

    Raises InputError if it has not.
    """
    found = headers(path)
    if not flag:
        columns = found["train_labels"][0][1:2]
        kinds, wanted, whose = "uibU", {columns} if columns not in ((), (1,)) else {(), (1,)}, ""
    else:
        kinds, wanted = "uib", {(len(INFO[flag]["label"]),)} if many_labels(flag) else {(), (1,)}
        whose = f" untuk {INFO[flag]['python_class']}"
    shown = " atau ".join(
        f"(N, {each[0]})" if each else "(N,)" for each in sorted(wanted, reverse=True)
    )
    channels = set()
    for split in SPLITS:
        (images, pixel), (labels, label) = found[f"{split}_images"], found[f"{split}_labels"]
        if (
            pixel != np.uint8
            or len(images) not in (3, 4)
            or (len(images) == 4 and images[3] not in (1, 3))
        ):
            raise InputError(
                f"{split}_images di {path} harus uint8 berbentuk (N, tinggi, lebar) "
                f"atau (N, tinggi, lebar, 3), bukan {pixel} berbentuk {images}."
            )
        if images[1:3] != (size, size):
            usable = images[1] == images[2] and images[1] in SIZES
            advice = (
                f"berikan SIZE={images[1]}"
                if usable
                else f"ubah ukurannya menjadi {', '.join(map(str, SIZES))} piksel"
            )
            raise InputError(
                f"{split}_images di {path} berukuran {images[1]}×{images[2]}, "
                f"sedangkan SIZE={size}: {advice}."
            )
        if label.kind not in kinds or labels[1:] not in wanted:
            raise InputError(
                f"{split}_labels di {path} harus bilangan bulat berbentuk {shown}{whose}, "
                f"bukan {label} berbentuk {labels}."
            )
        if images[0] != labels[0]:
            raise InputError(
                f"{split} di {path} memuat {images[0]} citra tetapi {labels[0]} baris label: "
                "jumlahnya harus sama."
            )
        channels.add(3 if images[3:] == (3,) else 1)
    return max(channels)


def many_labels(flag: str) -> bool:
    return INFO[flag]["task"].startswith("multi-label")
