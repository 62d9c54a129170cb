"""Downloads against a server on the loopback that behaves as badly as real ones do."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cxr_helpers.engine.download import DownloadError, Remote, fetch, recognise

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
        kind = kind.split("/")[-1]  # a proxy is asked for the whole address
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
    path = fetch(
        Remote(server.url + kind, DIGEST),
        tmp_path / "new" / "set.npz",
        timeout=1.5,
        retries=0,
        slowest=50e3,
    )
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
        fetch(
            Remote(server.url + kind, DIGEST),
            tmp_path / "set.npz",
            timeout=0.5,
            retries=asked - 1,
            slowest=10e3,
        )
    assert reason in caught.value.reason
    assert (
        reason in str(caught.value)
        and "set.npz" in str(caught.value)
        and "\n" not in str(caught.value)
    )
    assert len(server.asked) == asked
    assert left_in(tmp_path) == []


def test_no_server_at_all(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="tidak dapat dihubungi"):
        fetch(Remote(server.url + "good", DIGEST), tmp_path / "set.npz", timeout=0.5, retries=0)


@pytest.mark.parametrize("kind", ["silent", "accepts nothing"])
def test_a_proxy_that_says_nothing_costs_no_more_than_a_server_that_does(
    server, tmp_path, monkeypatch, kind
):
    """The proxy is asked for a host that does not exist; what it does with that is all that can be seen from here."""
    monkeypatch.delenv("NO_PROXY")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0 if kind == "accepts nothing" else 5)
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        for url in ("http://contoh.invalid/set.npz", "https://contoh.invalid/set.npz"):
            began = time.monotonic()
            # Waiting for an answer and waiting for the proxy's connection end at the same moment; either may be the first.
            with pytest.raises(DownloadError, match=r"tidak menjawab|proksi tidak dapat dihubungi"):
                fetch(Remote(url, DIGEST), tmp_path / "set.npz", timeout=0.5, retries=0)
            assert time.monotonic() - began < 5


def test_a_proxy_that_is_not_there_is_called_the_proxy(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="proksi") as caught:
        fetch(
            Remote("https://contoh.invalid/set.npz", DIGEST),
            tmp_path / "set.npz",
            timeout=2,
            retries=0,
        )
    assert "HTTPS_PROXY" in str(caught.value)


def test_a_file_comes_through_a_proxy(server, tmp_path, monkeypatch):
    """The proxy is our own server: a proxy is asked with the whole address in the place of the path."""
    monkeypatch.delenv("NO_PROXY")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url)
    path = fetch(
        Remote("http://contoh.invalid/good", DIGEST), tmp_path / "set.npz", timeout=2, retries=0
    )
    assert path.read_bytes() == CONTENT and server.asked == ["http://contoh.invalid/good"]


def test_a_name_server_that_says_nothing_costs_no_more_either(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(5))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    began = time.monotonic()
    with pytest.raises(DownloadError, match="tidak menjawab"):
        fetch(
            Remote("http://contoh.invalid/set.npz", DIGEST),
            tmp_path / "set.npz",
            timeout=0.4,
            retries=0,
        )
    assert time.monotonic() - began < 4


def test_a_strange_proxy_setting_is_no_wrong_digest(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://" + "ä" * 70 + ".invalid:1")
    with pytest.raises(DownloadError) as caught:
        fetch(
            Remote("http://contoh.invalid/set.npz", DIGEST),
            tmp_path / "set.npz",
            timeout=2,
            retries=0,
        )
    assert "sidik jari" not in str(caught.value)


def test_a_file_is_recognised_by_its_content(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT[:-1])
    (tmp_path / "unduhan (2)").write_bytes(CONTENT)
    candidates = sorted(tmp_path.iterdir())
    sha = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert (
        recognise(Remote("", DIGEST), candidates)
        == recognise(Remote("", sha), candidates)
        == tmp_path / "unduhan (2)"
    )
    assert recognise(Remote("", DIGEST), candidates[:1]) is None


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
    _, errors = process.communicate(timeout=90)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    assert left_in(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_download_left_is_swept_by_the_next(server, tmp_path):
    process = start(server, "trickle", tmp_path / "set.npz")
    wait_for_bytes(tmp_path)
    process.kill()
    process.communicate(timeout=90)
    assert left_in(tmp_path) != [] and not (tmp_path / "set.npz").exists()
    path = fetch(Remote(server.url + "good", DIGEST), tmp_path / "set.npz", retries=0)
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["set.npz"]


def test_two_processes_download_once(server, tmp_path):
    both = [start(server, "slow", tmp_path / "set.npz") for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert (tmp_path / "set.npz").read_bytes() == CONTENT
    assert server.asked == ["/slow"]
