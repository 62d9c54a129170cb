"""Fetching a published file over HTTP: whole, checked, or not at all.

pooch does the retries, the hash and the move into place; requests talks to the server, through a
proxy where one is set (HTTPS_PROXY). Ours is the patience: a thread receives and the caller counts
what has arrived, so that a name server, a proxy or a server that says nothing, or one that sends
and would never finish, is given up on time. No socket's time-out sees all of these.
"""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

import pooch
import requests
import urllib3

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar

CHUNK = 1 << 18  # bytes asked for at a time; read1 hands over whatever has arrived, up to this
WAITING = "Proses lain sedang menyiapkan {}: menunggu hasilnya."
# seconds; requests applies it to each address of a host in turn, so it must be short
CONNECT_LIMIT = 4.0
SLOWEST = 16e3  # bytes/s
# characters of a digest that is given in full, which pooch checks
WHOLE = (len("md5:") + 32, len("sha256:") + 64)
# Where something else is at hand (`auto`): data and weights together wait at most twice this many
# seconds for a server that is silent, and do not wait for one that sends less than this (bytes/s;
# ChestMNIST in about 5 minutes, the weights in 3).
AUTO_TIMEOUT, AUTO_SLOWEST = 7.0, 250e3


class DownloadError(InputError):
    """A download that failed. `reason` is the short Indonesian clause inside the one line, for
    callers that go on without it.
    """

    def __init__(self, reason: str, what_to_do: str, name: str):
        self.reason = reason
        super().__init__(f"{name} tidak dapat diunduh ({reason}): {what_to_do}.")


class _TooSlow(requests.Timeout):
    """The server sends, but less than the least rate asked for."""


@dataclass(frozen=True)
class Remote:
    """A published file: its address and the digest that its publisher gives, "md5:…" or "sha256:…",
    or its first digits.
    """

    url: str
    digest: str


def digest(path: Path, kind: str) -> str:
    """The digest of a file as Remote writes it, "md5:…" or "sha256:…"."""
    summary = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            summary.update(block)
    return f"{kind}:{summary.hexdigest()}"


def recognise(remote: Remote, candidates: Iterable[Path]) -> Path | None:
    """The first of `candidates` whose content is `remote`'s, whatever it is called."""
    kind = remote.digest.split(":")[0]
    return next((path for path in candidates if digest(path, kind).startswith(remote.digest)), None)


def _receive(url: str, timeout: float, given_up: threading.Event, pieces: Queue) -> None:
    """Put the length (None: not told), each piece as it arrives and b"" at the end into `pieces`,
    or the error that ended it.
    """
    try:
        # identity: what is counted is what is written
        headers = {"Accept-Encoding": "identity"}
        with requests.get(
            url, stream=True, timeout=(min(CONNECT_LIMIT, timeout), timeout), headers=headers
        ) as response:
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            pieces.put(int(length) if length.isdigit() else None)
            while not given_up.is_set() and (piece := response.raw.read1(CHUNK)):
                pieces.put(piece)
        pieces.put(b"")
    except requests.RequestException as error:
        pieces.put(error)
    except urllib3.exceptions.ReadTimeoutError as error:
        pieces.put(requests.ReadTimeout(error))
    # urllib3's other errors while reading, and what a strange address or proxy setting raises
    except Exception as error:
        pieces.put(requests.ConnectionError(error))


def _downloader(timeout: float, slowest: float, name: str) -> Callable[[str, str, object], None]:
    """What pooch calls as (url, output_file, pooch)."""

    def download(url: str, output_file: str, _pooch: object) -> None:
        given_up, pieces = threading.Event(), Queue(maxsize=64)
        threading.Thread(
            target=_receive, args=(url, timeout, given_up, pieces), daemon=True
        ).start()
        window, arrived = time.monotonic(), 0

        def next_piece() -> int | bytes | None:
            """Waits for it; raises when a window of `timeout` seconds brought nothing, or less than
            `slowest` a second.
            """
            nonlocal window, arrived
            while True:
                waited = time.monotonic() - window
                if waited >= timeout:
                    if arrived < max(slowest * waited, 1):
                        raise _TooSlow() if arrived else requests.ReadTimeout()
                    window, arrived, waited = time.monotonic(), 0, 0.0
                try:
                    piece = pieces.get(timeout=timeout - waited)
                except Empty:
                    continue
                if isinstance(piece, Exception):
                    raise piece
                arrived += len(piece) if isinstance(piece, bytes) else 0
                return piece

        try:
            with (
                open(output_file, "wb") as file,
                bar(next_piece(), f"Mengunduh {name}", unit="B") as progress,
            ):
                progress.unit_scale = True
                while piece := next_piece():
                    file.write(piece)
                    progress.update(len(piece))
        finally:
            given_up.set()
            # a thread that waits for room goes on, sees that nobody listens, and ends
            while not pieces.empty():
                pieces.get_nowait()

    return download


def _explained(error: Exception, name: str, url: str) -> DownloadError:
    retry = (
        "periksa jaringan lalu ulangi, "
        f"atau unduh sendiri {url.split('?')[0]} dan berikan berkasnya"
    )
    if isinstance(error, _TooSlow):
        return DownloadError("server mengirim terlalu lambat", retry, name)
    if isinstance(error, requests.exceptions.ProxyError):
        check = "periksa HTTPS_PROXY dan HTTP_PROXY, lalu ulangi"
        return DownloadError("proksi tidak dapat dihubungi atau menolak", check, name)
    if isinstance(error, requests.exceptions.SSLError):
        check = (
            "di balik proksi yang memeriksa lalu lintas, "
            "tunjuk sertifikatnya dengan REQUESTS_CA_BUNDLE, lalu ulangi"
        )
        return DownloadError("sertifikat server tidak dapat diperiksa", check, name)
    if isinstance(error, requests.Timeout):
        return DownloadError("server tidak menjawab", retry, name)
    if isinstance(error, requests.HTTPError):
        return DownloadError(
            f"server menjawab dengan kode {error.response.status_code}", retry, name
        )
    if isinstance(error, requests.RequestException):
        return DownloadError("server tidak dapat dihubungi atau sambungan terputus", retry, name)
    if isinstance(error, OSError):
        reason = f"berkas tidak dapat ditulis: {error.strerror or error}"
        return DownloadError(reason, "periksa izin tulis dan ruang disk", name)
    return DownloadError("isi yang diterima tidak cocok dengan sidik jari resminya", retry, name)


def fetch(
    remote: Remote, path: Path, timeout: float = 10.0, retries: int = 2, slowest: float = SLOWEST
) -> Path:
    """Make sure that `path` exists, downloading `remote` if it does not. Returns path.

    timeout: seconds without a byte, from the question on. slowest: bytes/s; a server that sends
    less over `timeout` seconds is given up. retries: further attempts after any failure, 1, 2, … s
    apart. A file that is already there is never opened, checked or replaced. The download lies in a
    folder of its own beside `path` and is renamed only once its digest is right; Ctrl-C ends it at
    once and removes it. Several processes may ask at once. Raises DownloadError with one line.
    """
    path = Path(path)
    if path.exists():
        return path
    pooch.get_logger().setLevel("ERROR")  # its English lines are not for the person at the terminal
    partial = path.with_name(f".{path.name}.part")
    try:
        with files.locked(path.with_name(f".{path.name}.lock"), WAITING.format(path.name)):
            if path.exists():
                return path
            shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
            store = pooch.create(
                path=partial,
                base_url="",
                registry={path.name: remote.digest if len(remote.digest) in WHOLE else None},
                urls={path.name: remote.url},
                retry_if_failed=retries,
            )
            try:
                whole = store.fetch(path.name, downloader=_downloader(timeout, slowest, path.name))
                if recognise(remote, [Path(whole)]) is None:
                    raise ValueError("only the first digits are known, and they differ")
                os.replace(whole, path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (requests.RequestException, OSError, ValueError) as error:
        raise _explained(error, path.name, remote.url) from error
    return path
