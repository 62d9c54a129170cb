"""Small files in MedMNIST's layout, a run store, and a server that answers as a test wants."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from medmnist import INFO

from cxr_helpers.engine import files, npz, sources
from cxr_helpers.engine.sources import Remote

CHESTMNIST = {"train": 78_468, "val": 11_219, "test": 22_433}  # rows of the published file
COUNTS = {"train": 240, "val": 120, "test": 160}


def made(flag: str, size: int = 28, seed: int = 0) -> dict[str, np.ndarray]:
    """Random images and labels in the layout of `flag`."""
    rng = np.random.default_rng(seed)
    names, colour = INFO[flag]["label"], (3,) * (INFO[flag]["n_channels"] == 3)
    arrays = {}
    for split, n in COUNTS.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, size, size, *colour), dtype=np.uint8)
        if flag == "chestmnist":
            labels = (rng.random((n, 14)) < 0.05).astype(np.uint8)
            labels[np.arange(n), rng.choice([1, 7, 1, 7, 2], n)] = 1
        else:
            labels = rng.integers(0, len(names), (n, 1)).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    return arrays


def written(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture(scope="session")
def real_layout(tmp_path_factory) -> Path:
    """ChestMNIST's number of rows and its labels of the pair; other rows hold other findings."""
    rng, arrays = np.random.default_rng(0), {}
    for split, known in npz.read_patients().items():
        n, rows = CHESTMNIST[split], known["rows"]
        images, labels = np.zeros((n, 28, 28), np.uint8), np.zeros((n, 14), np.uint8)
        images[rows] = rng.integers(0, 256, (len(rows), 28, 28))
        labels[::3, 2] = 1
        labels[1::3, [1, 7]] = 1
        labels[rows] = 0
        labels[rows, np.where(known["labels"] == 1, 7, 1)] = 1
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    path = tmp_path_factory.mktemp("real") / "chestmnist.npz"
    np.savez(path, **arrays)  # uncompressed: read and written in a fraction of the time
    return path


@pytest.fixture
def chest(tmp_path) -> Path:
    return written(tmp_path / "mine.npz", made("chestmnist"))


@pytest.fixture(scope="session")
def phantom_folder() -> Path:
    """The session's data folder with the phantom."""
    sources.resolve("phantom", folder=files.data_folder())
    return files.data_folder()


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """A run store of the test's own."""
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def serving(monkeypatch):
    """start(handler): a server on the loopback whose requests such a handler answers; has `url`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = []

    def start(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        handler.log_message = lambda *words: None
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=[0.02]).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def answering(serving):
    """start(status, body): a server that answers every request so; gives its Remote."""

    def start(status: int, body: bytes = b"") -> Remote:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return Remote(f"{serving(Handler).url}set.npz", f"md5:{digest}")

    return start


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text
