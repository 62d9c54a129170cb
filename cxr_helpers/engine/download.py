"""Fetching a published file over HTTP: whole, checked, or not at all.

pooch does the retries, the hash and the move into place; requests talks to the server. Ours is the loop that notices a server
which still sends but would never finish: http.client waits for a full buffer, so a time-out per read does not see a trickle.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar

CHUNK = 1 << 18  # bytes asked for at a time; read1 hands over whatever has arrived, up to this
WAITING = "Proses lain sedang menyiapkan {}: menunggu hasilnya."
CONNECT_LIMIT = 5.0  # seconds; requests applies it to each address of a host in turn, so it must be short


class DownloadError(InputError):
    """A download that failed. `reason` is the short Indonesian clause inside the one line, for callers that go on without it."""

    def __init__(self, reason: str, what_to_do: str, name: str):
        self.reason = reason
        super().__init__(f"{name} tidak dapat diunduh ({reason}): {what_to_do}.")


class _TooSlow(requests.Timeout):
    """The server sends, but less than the least rate asked for."""


@dataclass(frozen=True)
class Remote:
    """A published file: its address and the digest that its publisher gives, "md5:…" or "sha256:…"."""

    url: str
    digest: str


def _downloader(timeout: float, slowest: float, name: str) -> Callable[[str, str, object], None]:
    """What pooch calls as (url, output_file, pooch)."""

    def download(url: str, output_file: str, _pooch: object) -> None:
        limits = (min(CONNECT_LIMIT, timeout), timeout)
        # identity: what is counted is what is written
        headers = {"Accept-Encoding": "identity"}
        with requests.get(url, stream=True, timeout=limits, headers=headers) as response:
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            with open(output_file, "wb") as file, bar(total, f"Mengunduh {name}", unit="B") as progress:
                progress.unit_scale = True
                window, arrived = time.monotonic(), 0
                try:
                    while piece := response.raw.read1(CHUNK):
                        file.write(piece)
                        progress.update(len(piece))
                        arrived += len(piece)
                        waited = time.monotonic() - window
                        if waited >= timeout:
                            if arrived < slowest * waited:
                                raise _TooSlow()
                            window, arrived = time.monotonic(), 0
                except urllib3.exceptions.ReadTimeoutError as error:
                    raise requests.ReadTimeout(error) from error
                except urllib3.exceptions.HTTPError as error:
                    raise requests.ConnectionError(error) from error

    return download


def _explained(error: Exception, name: str, url: str) -> DownloadError:
    retry = f"periksa jaringan lalu ulangi, atau unduh sendiri {url.split('?')[0]} dan berikan berkasnya"
    if isinstance(error, _TooSlow):
        return DownloadError("server mengirim terlalu lambat", retry, name)
    if isinstance(error, requests.Timeout):
        return DownloadError("server tidak menjawab", retry, name)
    if isinstance(error, requests.HTTPError):
        return DownloadError(f"server menjawab dengan kode {error.response.status_code}", retry, name)
    if isinstance(error, requests.RequestException):
        return DownloadError("server tidak dapat dihubungi atau sambungan terputus", retry, name)
    if isinstance(error, OSError):
        reason = f"berkas tidak dapat ditulis: {error.strerror or error}"
        return DownloadError(reason, "periksa izin tulis dan ruang disk", name)
    return DownloadError("isi yang diterima tidak cocok dengan sidik jari resminya", retry, name)


def fetch(remote: Remote, path: Path, timeout: float = 10.0, retries: int = 2, slowest: float = 16e3) -> Path:
    """Make sure that `path` exists, downloading `remote` if it does not. Returns path.

    timeout: seconds without a connection (at most 5 for each address of the host) or without a byte. slowest: bytes/s; a server
    that sends less over `timeout` seconds is given up. retries: further attempts after any failure, 1, 2, … s apart.
    A file that is already there is never opened, checked or replaced. The download lies in a folder of its own beside `path`
    and is renamed only once its digest is right; Ctrl-C ends it at once and removes it. Several processes may ask at once.
    Raises DownloadError with one line.
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
                registry={path.name: remote.digest},
                urls={path.name: remote.url},
                retry_if_failed=retries,
            )
            try:
                whole = store.fetch(path.name, downloader=_downloader(timeout, slowest, path.name))
                os.replace(whole, path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (requests.RequestException, OSError, ValueError) as error:
        raise _explained(error, path.name, remote.url) from error
    return path
