"""Downloads against a server on the loopback that behaves as badly as real ones do."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cxr_helpers.engine.download import DownloadError, Remote, fetch

ROOT = Path(__file__).resolve().parent.parent
CONTENT = bytes(range(256)) * 2000  # 512 kB
DIGEST = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
FETCH = """
import signal, sys
from pathlib import Path
from cxr_helpers.engine.download import Remote, fetch
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with SIGINT ignored
print(fetch(Remote(sys.argv[1], sys.argv[2]), Path(sys.argv[3]), timeout=20, retries=0, slowest=0))
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        kind = self.path.strip("/")
        if kind == "503-once":
            kind = "503" if server.asked.count(self.path) == 1 else "good"
        self.close_connection = True
        if kind == "503":
            self.send_error(503)
        elif kind == "silent":
            server.closing.wait(30)
        elif kind == "without-length":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(CONTENT), 50_000):
                part = CONTENT[start : start + 50_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.send_body(kind, server.closing)

    def send_body(self, kind, closing):
        if kind == "good":
            self.wfile.write(CONTENT)
        elif kind == "corrupt":
            self.wfile.write(CONTENT[:-1] + b"?")
        elif kind == "truncated":
            self.wfile.write(CONTENT[:100_000])
        elif kind == "stuck":
            self.wfile.write(CONTENT[:100_000])
            closing.wait(30)
        elif kind in ("slow", "trickle"):
            step, pause = (len(CONTENT) // 10, 0.2) if kind == "slow" else (1, 0.05)
            for start in range(0, len(CONTENT), step):
                try:
                    self.wfile.write(CONTENT[start : start + step])
                except OSError:  # the client has gone
                    return
                if closing.wait(pause):
                    return

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.asked, httpd.closing = [], threading.Event()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}/"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield httpd
    httpd.closing.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def left_in(folder: Path) -> list[str]:
    """Everything under the folder but the lock."""
    return sorted(path.name for path in folder.rglob("*") if not path.name.endswith(".lock"))


@pytest.mark.parametrize("kind", ["good", "slow", "without-length"])
def test_a_whole_file_arrives(server, tmp_path, kind):
    path = fetch(Remote(server.url + kind, DIGEST), tmp_path / "new" / "set.npz", timeout=1.5, retries=0, slowest=50e3)
    assert path.read_bytes() == CONTENT
    assert left_in(path.parent) == ["set.npz"]


@pytest.mark.parametrize(
    ("kind", "reason", "asked"),
    [
        ("silent", "tidak menjawab", 1),
        ("stuck", "tidak menjawab", 1),
        ("trickle", "terlalu lambat", 1),
        ("truncated", "terputus", 1),
        ("corrupt", "sidik jari", 2),
        ("503", "kode 503", 2),
    ],
)
def test_each_failure_is_one_line_and_leaves_nothing(server, tmp_path, kind, reason, asked):
    with pytest.raises(DownloadError) as caught:
        fetch(Remote(server.url + kind, DIGEST), tmp_path / "set.npz", timeout=0.5, retries=asked - 1, slowest=10e3)
    assert reason in caught.value.reason
    assert reason in str(caught.value) and "set.npz" in str(caught.value) and "\n" not in str(caught.value)
    assert len(server.asked) == asked
    assert left_in(tmp_path) == []


def test_no_server_at_all(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="tidak dapat dihubungi"):
        fetch(Remote(server.url + "good", DIGEST), tmp_path / "set.npz", timeout=0.5, retries=0)


def test_a_server_that_recovers_is_asked_again(server, tmp_path):
    path = fetch(Remote(server.url + "503-once", DIGEST), tmp_path / "set.npz", retries=1)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("kind", ["good", "corrupt"])
def test_a_file_already_there_is_never_touched(server, tmp_path, kind):
    path = tmp_path / "set.npz"
    path.write_bytes(b"somebody's own")
    os.utime(path, (1, 1))
    assert fetch(Remote(server.url + kind, DIGEST), path) == path
    assert path.read_bytes() == b"somebody's own" and path.stat().st_mtime == 1
    assert server.asked == []


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="tidak dapat ditulis") as caught:
        fetch(Remote(server.url + "good", DIGEST), tmp_path / "data" / "set.npz")
    assert "\n" not in str(caught.value)
    assert server.asked == []


def start(server, kind: str, path: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, server.url + kind, DIGEST, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_bytes(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(p.is_file() and not p.name.endswith(".lock") for p in folder.rglob("*")):
        assert time.monotonic() < deadline, "the download never began"
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(server, tmp_path):
    process = start(server, "trickle", tmp_path / "set.npz")
    wait_for_bytes(tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    assert left_in(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_download_left_is_swept_by_the_next(server, tmp_path):
    process = start(server, "trickle", tmp_path / "set.npz")
    wait_for_bytes(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert left_in(tmp_path) != [] and not (tmp_path / "set.npz").exists()
    path = fetch(Remote(server.url + "good", DIGEST), tmp_path / "set.npz", retries=0)
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["set.npz"]


def test_two_processes_download_once(server, tmp_path):
    both = [start(server, "slow", tmp_path / "set.npz") for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert (tmp_path / "set.npz").read_bytes() == CONTENT
    assert server.asked == ["/slow"]
