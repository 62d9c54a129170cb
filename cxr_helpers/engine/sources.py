"""Where data and weights come from: a published file is recognised or fetched, whole and checked or
not at all, and `resolve` says which file the images are.

pooch downloads, tries again, checks the digest and moves the file into place; requests talks to the
server, through a proxy where one is set (HTTPS_PROXY).
"""

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pooch
import requests
from medmnist import INFO

import phantom
from cxr_helpers.engine import files, npz, ownfiles
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.npz import FLAGS, SPLITS  # noqa: F401 - read as sources.SPLITS
from cxr_helpers.engine.runtime import bar
from cxr_helpers.engine.settings import SIZES

CHUNK = 1 << 18  # bytes asked for at a time
WAITING = "Proses lain sedang menyiapkan {}: menunggu hasilnya."
CONNECT_LIMIT = 4.0  # seconds, for each address of a host in turn
# characters of a digest that is given in full, which pooch checks
WHOLE = (len("md5:") + 32, len("sha256:") + 64)
AUTO_TIMEOUT = 7.0  # seconds that a silent server gets where something else is at hand (`auto`)


# --- a published file -----------------------------------------------------------------------------


class DownloadError(InputError):
    """A download that failed. `reason` is the short Indonesian clause inside the one line, for
    callers that go on without it.
    """

    def __init__(self, reason: str, what_to_do: str, name: str):
        self.reason = reason
        super().__init__(f"{name} tidak dapat diunduh ({reason}): {what_to_do}.")


@dataclass(frozen=True)
class Remote:
    """A published file: its address and the digest that its publisher gives, "md5:…" or "sha256:…",
    or its first digits.
    """

    url: str
    digest: str


def digest(path: Path, kind: str) -> str:
    """The digest of a file as Remote writes it, "md5:…" or "sha256:…"."""
    return f"{kind}:{pooch.file_hash(str(path), alg=kind)}"


def recognise(remote: Remote, candidates: Iterable[Path]) -> Path | None:
    """The first of `candidates` whose content is `remote`'s, whatever it is called."""
    kind = remote.digest.split(":")[0]
    return next((path for path in candidates if digest(path, kind).startswith(remote.digest)), None)


def fetch(remote: Remote, path: Path, timeout: float = 10.0, retries: int = 2) -> Path:
    """Make sure that `path` exists, downloading `remote` if it does not. Returns path.

    timeout: seconds that the server may be silent. retries: further attempts after any failure, 1,
    2, … s apart. A file that is already there is never opened, checked or replaced. The download
    lies in a folder of its own beside `path` and is renamed only once its digest is right; Ctrl-C
    removes it. Several processes may ask at once. Raises DownloadError with one line.
    """
    path = Path(path)
    if path.exists():
        return path
    pooch.get_logger().setLevel("ERROR")  # its English lines are not for the person at the terminal
    unfinished = path.with_name(f".{path.name}.part")
    download = partial(_download, timeout, path.name)
    try:
        with files.locked(path.with_name(f".{path.name}.lock"), WAITING.format(path.name)):
            if path.exists():
                return path
            shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process left
            store = pooch.create(
                path=unfinished,
                base_url="",
                registry={path.name: remote.digest if len(remote.digest) in WHOLE else None},
                urls={path.name: remote.url},
                retry_if_failed=retries,
            )
            try:
                whole = store.fetch(path.name, downloader=download)
                if recognise(remote, [Path(whole)]) is None:
                    raise ValueError("only the first digits are known, and they differ")
                os.replace(whole, path)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except (requests.RequestException, OSError, ValueError) as error:
        raise _explained(error, path.name, remote.url) from error
    return path


def _download(timeout: float, name: str, url: str, output_file: str, store: pooch.Pooch) -> None:
    """pooch's own downloader, with time-outs and our progress bar, which it tells the length."""
    headers = {"Accept-Encoding": "identity"}
    limits = (min(CONNECT_LIMIT, timeout), timeout)
    with bar(1, f"Mengunduh {name}", unit="B") as progress:
        downloader = pooch.HTTPDownloader(progress, CHUNK, timeout=limits, headers=headers)
        downloader(url, output_file, store)


def _explained(error: Exception, name: str, url: str) -> DownloadError:
    """What went wrong and what to do, in Indonesian."""
    advice = (
        "periksa jaringan lalu ulangi, "
        f"atau unduh sendiri {url.split('?')[0]} dan berikan berkasnya"
    )
    if isinstance(error, requests.exceptions.ProxyError):
        reason = "proksi tidak dapat dihubungi atau menolak"
        advice = "periksa HTTPS_PROXY dan HTTP_PROXY, lalu ulangi"
    elif isinstance(error, requests.exceptions.SSLError):
        reason = "sertifikat server tidak dapat diperiksa"
        advice = (
            "di balik proksi yang memeriksa lalu lintas, "
            "tunjuk sertifikatnya dengan REQUESTS_CA_BUNDLE, lalu ulangi"
        )
    elif isinstance(error, requests.HTTPError):
        reason = f"server menjawab dengan kode {error.response.status_code}"
    elif isinstance(error, requests.Timeout) or "timed out" in str(error):
        reason = "server tidak menjawab"
    elif isinstance(error, requests.RequestException):
        reason = "server tidak dapat dihubungi atau sambungan terputus"
    elif isinstance(error, OSError):
        reason = f"berkas tidak dapat ditulis: {error.strerror or error}"
        advice = "periksa izin tulis dan ruang disk"
    else:
        reason = "isi yang diterima tidak cocok dengan sidik jari resminya"
    return DownloadError(reason, advice, name)


# --- which file the images come from --------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A file that data.load can read, and how it was chosen.

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
        return npz.many_labels(self.flag) if self.flag else self.columns


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
    be silent (auto asks once and for at most AUTO_TIMEOUT, the others three times). remote: another
    place for the download than medmnist's, for tests and mirrors. A file already in `folder` is
    used as it is and never altered: with another MD5 than the published one it must still have the
    right layout, and the note says so. The published file is recognised there by its MD5 under any
    name. Raises InputError with one line.
    """
    data, folder = str(data).strip(), Path(folder)
    if said := files.elsewhere():
        print(said, flush=True)
    if size not in SIZES:
        raise InputError(f"SIZE={size} tidak tersedia: pilih {', '.join(map(str, SIZES))}.")
    name = data.lower()
    if name == "auto":
        return _auto(size, folder, seed, min(timeout, AUTO_TIMEOUT), remote)
    if name == "phantom":
        note = "Dipilih dengan DATA=phantom; citranya digambar oleh model, bukan citra pasien."
        return _phantom(size, folder, seed, note)
    if name in FLAGS:
        return _official(name, size, folder, remote, timeout)
    path = Path(os.path.expanduser(data))
    if why := _no_data(data, path):
        raise InputError(f"DATA={data} {why}.")
    return _own(path, size)


def _no_data(data: str, path: Path) -> str:
    """Why a word or path can name no data, in Indonesian; "" if it can."""
    if data.lower() in INFO:
        two = f"pilih {', '.join(FLAGS)}"
        return f"berisi citra 3D, sedangkan jaringan ini membaca citra 2D: {two}"
    if ownfiles.ADDRESS.match(data):
        return "adalah alamat: unduh berkasnya dahulu, lalu berikan letaknya di komputer ini"
    if not (data.lower().endswith(".npz") or os.path.exists(path)):
        names = ", ".join(FLAGS)
        return f"tidak dikenal: berikan auto, phantom, berkas .npz yang ada, atau {names}"
    return ""


def published(flag: str, size: int) -> Remote:
    """Where MedMNIST publishes that set at that size."""
    suffix = "" if size == 28 else f"_{size}"
    return Remote(INFO[flag][f"url{suffix}"], f"md5:{INFO[flag][f'MD5{suffix}']}")


def place(flag: str, size: int, folder: Path) -> Path:
    """Where the medmnist package keeps that set in a folder."""
    return folder / f"{flag}{'' if size == 28 else f'_{size}'}.npz"


def _auto(size: int, folder: Path, seed: int, timeout: float, remote: Remote | None) -> Source:
    try:
        source = _official("chestmnist", size, folder, remote, timeout, retries=0)
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


def _official(
    flag: str, size: int, folder: Path, remote: Remote | None, timeout: float, retries: int = 2
) -> Source:
    """A published set: as it lies in `folder`, under its own name or any other, or fetched."""
    remote, path = remote or published(flag, size), place(flag, size, folder)
    if not path.exists():
        ours = (".", "phantom-")
        others = [other for other in sorted(folder.glob("*")) if not other.name.startswith(ours)]
        archives = [other for other in others if other.suffix.lower() == ".npz" and other.is_file()]
        path = recognise(remote, archives) or fetch(remote, path, timeout, retries)
    channels = npz.check_layout(path, flag, size)
    title = f"{INFO[flag]['python_class']} {size}×{size}"
    if digest(path, "md5") == remote.digest:
        note = "Berkas resmi MedMNIST; MD5-nya cocok dengan yang diterbitkan."
    else:
        note = (
            f"Berkas {path.name} bukan berkas resmi: "
            "MD5-nya berbeda dari yang diterbitkan MedMNIST."
        )
    kind = "chestmnist" if flag == "chestmnist" else "medmnist"
    return Source(kind, flag, path, size, title, note + _colour_note(channels))


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


def _own(path: Path, size: int) -> Source:
    """A file that a person brings: ChestMNIST's fourteen columns or the name of a MedMNIST set give
    it that set's class names, else its classes are its own.
    """
    shape, dtype = npz.headers(path)["train_labels"]
    words = set(re.findall(r"[a-z]+", path.stem.lower()))
    flag = ""
    if shape[1:] == (len(INFO["chestmnist"]["label"]),):
        flag = "chestmnist"
    elif shape[1:] in ((), (1,)) and dtype.kind in "uib":
        named = [flag for flag in FLAGS if flag in words and not npz.many_labels(flag)]
        flag = named[0] if len(named) == 1 else ""
    colours = _colour_note(npz.check_layout(path, flag, size))
    title = f"Berkas {' '.join(path.name.split())}, {size}×{size}"
    if flag:
        note = f"Berkas yang Anda berikan, dibaca dengan nama kelas {INFO[flag]['python_class']}."
        return Source("file", flag, path, size, title, note + colours)
    with npz.one_line(path):
        names, columns, _ = npz.own_labels(path)
    note = "Berkas yang Anda berikan, dengan kelasnya sendiri." + colours
    return Source("file", "", path, size, title, note, names=names, columns=columns)


def _colour_note(channels: int) -> str:
    grey = " Citra berwarna diubah menjadi skala keabuan (luminansi ITU-R BT.601)."
    return grey if channels == 3 else ""
