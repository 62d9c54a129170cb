"""Downloads against a server on the loopback that behaves as badly as real ones do."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cxr_helpers.engine.sources import DownloadError, Remote, fetch
from tests.conftest import ROOT

CONTENT = bytes(range(256)) * 2000  # 512 kB
DIGEST = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
FIRST_DIGITS = "sha256:" + hashlib.sha256(CONTENT).hexdigest()[:8]
WAITS = {"silent": 30, "stuck": 30, "slow": 0.3}  # seconds
FETCH = """
import signal, sys
from pathlib import Path
from cxr_helpers.engine.sources import Remote, fetch
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores SIGINT
fetch(Remote(sys.argv[1], sys.argv[2]), Path(sys.argv[3]), timeout=20, retries=0)
"""


class Handler(BaseHTTPRequestHandler):
    """The address says how the file comes, or in which way it does not."""

    def do_GET(self):
        self.server.asked.append(self.path)
        kind = self.path[1:]
        if kind == "503" or (kind == "503-once" and len(self.server.asked) == 1):
            self.send_error(503)
            return
        body = {"corrupt": CONTENT[:-1] + b"?", "truncated": CONTENT[:100_000]}.get(kind, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        with suppress(OSError):  # the client has gone
            self.wfile.write(body[:100_000] if kind != "silent" else b"")
            self.server.closing.wait(WAITS.get(kind, 0))
            self.wfile.write(body[100_000:])


@pytest.fixture
def server(serving):
    httpd = serving(Handler)
    httpd.asked, httpd.closing = [], threading.Event()
    yield httpd
    httpd.closing.set()


def left_in(folder: Path) -> list[str]:
    """Everything under the folder but the lock."""
    return sorted(path.name for path in folder.rglob("*") if not path.name.endswith(".lock"))


@pytest.mark.parametrize(
    ("kind", "reason", "asked"),
    [
        ("nobody", "tidak dapat dihubungi", 0),
        ("silent", "tidak menjawab", 1),
        ("truncated", "terputus", 1),
        ("corrupt", "sidik jari", 2),
        ("503", "kode 503", 2),
    ],
)
def test_each_failure_is_one_line_and_leaves_nothing(server, tmp_path, kind, reason, asked):
    url = "http://127.0.0.1:9/" if kind == "nobody" else server.url + kind
    with pytest.raises(DownloadError, match=f"set.npz.*{reason}") as caught:
        fetch(Remote(url, DIGEST), tmp_path / "set.npz", 0.5, retries=max(asked - 1, 0))
    assert reason in caught.value.reason and "\n" not in str(caught.value)
    assert len(server.asked) == asked and left_in(tmp_path) == []


def test_a_whole_file_arrives_at_the_second_try_and_is_never_touched_again(server, tmp_path):
    path, remote = tmp_path / "new" / "set.npz", Remote(server.url + "503-once", FIRST_DIGITS)
    assert fetch(remote, path, retries=1) == path
    assert path.read_bytes() == CONTENT and left_in(path.parent) == ["set.npz"]
    path.write_bytes(b"somebody's own")
    assert fetch(remote, path) == path and path.read_bytes() == b"somebody's own"
    assert len(server.asked) == 2


def test_of_two_that_ask_at_once_one_downloads(server, tmp_path):
    path, remote = tmp_path / "set.npz", Remote(server.url + "slow", DIGEST)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch, [remote] * 2, [path] * 2)) == [path] * 2
    assert path.read_bytes() == CONTENT and server.asked == ["/slow"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends another process neither signal")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_a_download_that_was_ended_leaves_nothing_in_the_way_of_the_next(server, tmp_path, ending):
    path = tmp_path / "set.npz"
    command = [sys.executable, "-c", FETCH, server.url + "stuck", DIGEST, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any((tmp_path / ".set.npz.part").rglob("*")):
        assert time.monotonic() < deadline, "the download never began"
        time.sleep(0.02)
    process.send_signal(ending)
    assert process.wait(timeout=90) != 0 and not path.exists()
    if ending == signal.SIGINT:
        assert left_in(tmp_path) == []
    fetch(Remote(server.url + "good", DIGEST), path, retries=0)
    assert path.read_bytes() == CONTENT and left_in(tmp_path) == ["set.npz"]
