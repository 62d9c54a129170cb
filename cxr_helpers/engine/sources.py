"""Which file the images are, and how a published file is fetched: whole and checked, or not."""

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pooch
import requests
from medmnist import INFO

from cxr_helpers.engine import files, npz
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.npz import FLAGS, SPLITS  # noqa: F401 - read as sources.SPLITS
from cxr_helpers.engine.runtime import bar

CHUNK = 1 << 18  # bytes asked for at a time
PLAIN = {"Accept-Encoding": "identity"}
CONNECT_LIMIT = 4.0  # seconds, for each address of a host in turn
AUTO_TIMEOUT = 7.0  # seconds that a silent server gets where something else is at hand (`auto`)
# characters of a digest that is given in full, which pooch checks
WHOLE = (len("md5:") + 32, len("sha256:") + 64)
AGAIN = "periksa jaringan dan HTTPS_PROXY, atau unduh sendiri {url} dan berikan berkasnya"
DISK = "periksa izin tulis dan ruang disk"
# What a failed download raises, the reason, and what to do; the first that matches speaks.
FAILURES = (
    (requests.HTTPError, "server menjawab dengan kode {error.response.status_code}", AGAIN),
    (requests.Timeout, "server tidak menjawab", AGAIN),
    (requests.RequestException, "server tidak dapat dihubungi atau sambungan terputus", AGAIN),
    (OSError, "berkas tidak dapat ditulis: {error.strerror}", DISK),
    (ValueError, "isi yang diterima tidak cocok dengan sidik jari resminya", AGAIN),
)


class DownloadError(InputError):
    """A download that failed. reason: the Indonesian clause for callers that go on without it."""

    def __init__(self, error: Exception, name: str, url: str):
        # requests tells a server that falls silent midway as a broken connection
        kind = requests.Timeout if "timed out" in str(error) else type(error)
        reason, advice = next(rest for failure, *rest in FAILURES if issubclass(kind, failure))
        self.reason = reason.format(error=error)
        advice = advice.format(url=url.split("?")[0])
        super().__init__(f"{name} tidak dapat diunduh ({self.reason}): {advice}.")


@dataclass(frozen=True)
class Remote:
    """A published file: its address and its digest, "md5:…" or "sha256:…", or its first digits."""

    url: str
    digest: str


def recognise(remote: Remote, candidates: Iterable[Path]) -> Path | None:
    """The first of `candidates` whose content is `remote`'s, whatever it is called."""
    kind = remote.digest.split(":")[0]
    for path in candidates:
        if f"{kind}:{pooch.file_hash(str(path), alg=kind)}".startswith(remote.digest):
            return path
    return None


def fetch(remote: Remote, path: Path, timeout: float = 10.0, retries: int = 2) -> Path:
    """Make sure that `path` exists, downloading `remote` if it does not. timeout: seconds of
    silence. Nothing stands there before its digest is right. Raises DownloadError.
    """
    path = Path(path)
    if path.exists():
        return path
    pooch.get_logger().setLevel("ERROR")  # its English lines are not for the person at the terminal
    unfinished = path.with_name(f".{path.name}.part")
    store = pooch.create(
        path=unfinished,
        base_url="",
        registry={path.name: remote.digest if len(remote.digest) in WHOLE else None},
        urls={path.name: remote.url},
        retry_if_failed=retries,
    )
    try:
        waiting = f"Proses lain sedang menyiapkan {path.name}: menunggu hasilnya."
        with files.locked(path.with_name(f".{path.name}.lock"), waiting):
            if path.exists():
                return path
            shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process left
            try:
                limits = (min(CONNECT_LIMIT, timeout), timeout)
                with bar(1, f"Mengunduh {path.name}", unit="B") as progress:
                    download = pooch.HTTPDownloader(progress, CHUNK, timeout=limits, headers=PLAIN)
                    whole = Path(store.fetch(path.name, downloader=download))
                if recognise(remote, [whole]) is None:
                    raise ValueError("only the first digits are known, and they differ")
                os.replace(whole, path)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except (requests.RequestException, OSError, ValueError) as error:
        raise DownloadError(error, path.name, remote.url) from error
    return path


@dataclass(frozen=True)
class Source:
    """A file that data.load can read: kind "chestmnist", "phantom", "medmnist" or "file"; flag: the
    set whose layout it has, "" for its own classes; truth: the phantom's, for analysis only.
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
        """Whether an image may carry several labels; those with one label are kept then."""
        return npz.many_labels(self.flag) if self.flag else self.columns


def resolve(
    data: str = "auto", size: int = 28, folder: Path = Path("data"), remote: Remote | None = None
) -> Source:
    """Find, fetch or draw the file that `data` names: "auto" (ChestMNIST, else the phantom, which
    is said), a 2D set of MedMNIST, "phantom", or an npz. Raises InputError.
    """
    data, folder = str(data).strip(), Path(folder)
    name, path = data.lower(), Path(os.path.expanduser(data))
    if name == "auto":
        return _auto(size, folder, remote)
    if name == "phantom":
        note = "Dipilih dengan DATA=phantom; citranya digambar oleh model, bukan citra pasien."
        return _phantom(size, folder, note)
    if name in FLAGS:
        return _official(name, size, folder, remote)
    if name.endswith(".npz") or os.path.exists(path):
        return _own(path, size)
    choices = f"auto, phantom, berkas .npz yang ada, atau {', '.join(FLAGS)}"
    raise InputError(f"DATA={data} tidak dikenal: berikan {choices}.")


def published(flag: str, size: int) -> Remote:
    """Where MedMNIST publishes that set at that size."""
    suffix = "" if size == 28 else f"_{size}"
    return Remote(INFO[flag][f"url{suffix}"], f"md5:{INFO[flag][f'MD5{suffix}']}")


def _auto(size: int, folder: Path, remote: Remote | None) -> Source:
    try:
        source = _official("chestmnist", size, folder, remote, timeout=AUTO_TIMEOUT, retries=0)
    except DownloadError as error:
        if size != 28:
            raise
        why = f"ChestMNIST tidak dapat diunduh ({error.reason}), maka dipakai fantom"
        source = _phantom(size, folder, f"{why}: citra hasil simulasi, bukan citra pasien.")
    print(f"Data: {source.title}. {source.note}", flush=True)
    return source


def _official(flag: str, size: int, folder: Path, remote: Remote | None, **patience) -> Source:
    """A published set: as it lies in `folder`, under its own name or any other, or fetched."""
    remote = remote or published(flag, size)
    path = folder / f"{flag}{'' if size == 28 else f'_{size}'}.npz"  # medmnist's own name for it
    if not path.exists():
        archives = [other for other in sorted(folder.glob("*")) if other.suffix.lower() == ".npz"]
        path = recognise(remote, archives) or fetch(remote, path, **patience)
    note = "Berkas resmi MedMNIST; MD5-nya cocok dengan yang diterbitkan."
    if recognise(remote, [path]) is None:
        note = f"Berkas {path.name} bukan berkas resmi: MD5-nya berbeda dari yang diterbitkan."
    kind = "chestmnist" if flag == "chestmnist" else "medmnist"
    title = f"{INFO[flag]['python_class']} {size}×{size}"
    return _checked(Source(kind, flag, path, size, title, note))


def _phantom(size: int, folder: Path, note: str) -> Source:
    from phantom import ensure

    if size != 28:
        why = f"Fantom hanya ada pada ukuran 28, sedangkan SIZE={size}"
        raise InputError(f"{why}: pakai SIZE=28 atau DATA=chestmnist.")
    path, truth = ensure(folder)
    return Source("phantom", "chestmnist", path, size, "Fantom toraks sintetis 28×28", note, truth)


def _own(path: Path, size: int) -> Source:
    """A person's file, with the class names of ChestMNIST, of another set, or its own."""
    shape, dtype = npz.headers(path)["train_labels"]
    flag = ""
    if shape[1:] == (len(INFO["chestmnist"]["label"]),):
        flag = "chestmnist"
    elif shape[1:] in ((), (1,)) and dtype.kind in "uib":
        words = set(re.findall(r"[a-z]+", path.stem.lower()))
        named = [flag for flag in FLAGS if flag in words and not npz.many_labels(flag)]
        flag = named[0] if len(named) == 1 else ""
    classes = f"nama kelas {INFO[flag]['python_class']}" if flag else "kelasnya sendiri"
    title = f"Berkas {' '.join(path.name.split())}, {size}×{size}"
    note = f"Berkas yang Anda berikan, dibaca dengan {classes}."
    source = _checked(Source("file", flag, path, size, title, note))
    if flag:
        return source
    with npz.one_line(path):
        names, columns, _ = npz.own_labels(path)
    return replace(source, names=names, columns=columns)


def _checked(source: Source) -> Source:
    """The source whose file has the layout that it should, with a note where it holds colour."""
    if npz.check_layout(source.path, source.flag, source.size) == 1:
        return source
    grey = "Citra berwarna diubah menjadi skala keabuan (luminansi ITU-R BT.601)."
    return replace(source, note=f"{source.note} {grey}")
