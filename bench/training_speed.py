"""How fast training is, as ratios measured in one run: `python -m bench.training_speed [--images 256] [--rounds 3]`.

Each trial trains the course's ResNet-18 (28×28, batch 32, Adam) for one epoch; trials alternate round by round, so that another
load on the machine meets them all, and the median of the rounds counts. The yardstick is bench/plain_loop.py.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from bench import plain_loop
from cxr_helpers import adaptation, data, model, phantom, training
from cxr_helpers.results import number
from cxr_helpers.training import TrainConfig

BATCH, LEARNING_RATE = 32, 4e-4
PARALLEL = "import sys; from bench import training_speed as t; t.worker(int(sys.argv[1]))"


def the_images(n: int) -> tuple:
    """The first n single-label training images of the phantom, and their labels."""
    with tempfile.TemporaryDirectory() as folder:
        path, truth = phantom.ensure(Path(folder), 0)
        whole = data.load(data.Source("phantom", "chestmnist", path, 28, "", "", truth))
    return whole.train.images[:n], whole.train.labels[:n]


class Ours:
    """One epoch of cxr_helpers.training as `fit` runs it, with one thing changed for a trial."""

    def __init__(self, images, labels, device, layout=torch.channels_last, fused=True, compiled=False, autocast=False):
        self.network = model.build(model.resolve_weights("random"), 0).to(device, memory_format=layout)
        self.inputs = data.to_tensor(images, device).contiguous(memory_format=layout)
        self.labels = torch.from_numpy(labels).float().unsqueeze(1).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE, fused=fused)
        self.step = torch.compile(self.network) if compiled else self.network
        self.autocast, self.device = autocast, device

    def __call__(self) -> None:
        batches = training.draw_batches(TrainConfig(), self.labels.squeeze(1).cpu(), torch.Generator().manual_seed(0))
        criterion, rates = torch.nn.BCEWithLogitsLoss(), [LEARNING_RATE] * len(batches)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            training.train_epoch(
                self.step, self.inputs, self.labels, batches, self.optimizer, criterion, rates, lambda x, y: x, lambda: None
            )


class Plain:
    """One epoch of the yardstick."""

    def __init__(self, images, labels, device):
        self.network = model.build(model.resolve_weights("random"), 0).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.loader = DataLoader(plain_loop.Images(images, labels), batch_size=BATCH, shuffle=True)
        self.device = device

    def __call__(self) -> None:
        plain_loop.epoch(self.network, self.optimizer, self.loader, self.device)


class Frozen:
    """One epoch with everything but the head frozen; `precomputed` takes the frozen part's output from memory."""

    def __init__(self, images, labels, device, precomputed: bool):
        network = model.build(model.resolve_weights("random"), 0).to(device, memory_format=torch.channels_last)
        model.freeze(network, "head")
        frozen, head = model.split_frozen(network, "head")
        inputs = data.to_tensor(images, device).contiguous(memory_format=torch.channels_last)
        self.network, self.inputs = (head, model.features(frozen, inputs)) if precomputed else (network, inputs)
        self.labels = torch.from_numpy(labels).float().unsqueeze(1).to(device)
        self.optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=LEARNING_RATE)

    def __call__(self) -> None:
        batches = training.draw_batches(TrainConfig(), self.labels.squeeze(1).cpu(), torch.Generator().manual_seed(0))
        rates = [LEARNING_RATE] * len(batches)
        criterion = torch.nn.BCEWithLogitsLoss()
        training.train_epoch(
            self.network, self.inputs, self.labels, batches, self.optimizer, criterion, rates, lambda x, y: x, lambda: None
        )


def worker(n: int) -> None:
    """One process of the trial with several processes of one thread: warm up, wait for a line, train an epoch, say so."""
    torch.set_num_threads(1)
    run = Ours(*the_images(n), torch.device("cpu"))
    run()
    print("siap", flush=True)
    sys.stdin.readline()
    run()
    print("selesai", flush=True)


def processes_rate(n: int, count: int) -> float:
    """Images a second of `count` processes of one thread each, together."""
    command = [sys.executable, "-c", PARALLEL, str(n)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for process in started:
        process.stdout.readline()
    begin = time.perf_counter()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        process.stdout.readline()
    seconds = time.perf_counter() - begin
    for process in started:
        process.communicate()
    return count * n / seconds


def gemm_peak(device: torch.device, side: int = 2048) -> float:
    """Best float32 matrix product of several, in multiply-adds a second."""
    a = torch.randn(side, side, device=device)
    best = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - begin)
    return side**3 / best


def clock(run: Callable[[], None], device: torch.device) -> float:
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description="Kecepatan pelatihan")
    parser.add_argument("--images", type=int, default=256, help="citra tiap epoch (bawaan: 256)")
    parser.add_argument("--rounds", type=int, default=3, help="banyaknya putaran (bawaan: 3)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = the_images(options.images)
    trials = {
        "putaran biasa (DataLoader, PIL, NCHW)": Plain(images, labels, device),
        "cxr_helpers": Ours(images, labels, device),
        "cxr_helpers dengan NCHW": Ours(images, labels, device, layout=torch.contiguous_format),
        "cxr_helpers tanpa fused Adam": Ours(images, labels, device, fused=False),
        "cxr_helpers dengan bfloat16": Ours(images, labels, device, autocast=True),
        "cxr_helpers dengan torch.compile": Ours(images, labels, device, compiled=True),
        "hanya kepala, bagian beku dihitung ulang": Frozen(images, labels, device, precomputed=False),
        "hanya kepala, bagian beku dihitung sekali": Frozen(images, labels, device, precomputed=True),
    }
    for name in list(trials):
        try:
            clock(trials[name], device)  # warm up, and compile
        except Exception as error:  # a machine without a C++ compiler cannot torch.compile
            print(f"{name}: tidak dapat dijalankan ({type(error).__name__})")
            del trials[name]
    rates = {name: [] for name in trials}
    for _ in range(options.rounds):
        for name, run in trials.items():
            rates[name].append(len(labels) / clock(run, device))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    if device.type == "cpu" and torch.get_num_threads() > 1:
        count = torch.get_num_threads()
        middle[f"{count} proses bersatu thread, bersama-sama"] = processes_rate(len(labels), count)
    plain = middle["putaran biasa (DataLoader, PIL, NCHW)"]
    print(f"\nPerangkat: {device}, {torch.get_num_threads()} thread; {len(labels)} citra tiap epoch, {options.rounds} putaran\n")
    print("| Percobaan | citra/s | terhadap putaran biasa |\n|---|---:|---:|")
    for name, rate in middle.items():
        print(f"| {name} | {number(rate, 1)} | {number(rate / plain, 2)}× |")
    work = adaptation.describe_architectures()[-1]["multiply_adds"]
    peak = gemm_peak(device)
    used = 3 * work * middle["cxr_helpers"]  # backward costs about twice the forward pass
    print(f"\nPuncak GEMM float32: {2 * peak / 1e9:.0f} GFLOP/s; dipakai pelatihan: {100 * used / peak:.0f}%.")
    ratio = middle["cxr_helpers"] / plain
    if device.type == "cpu" and ratio < 1.25:
        print(f"Sasaran ≥ 1,25× tidak tercapai ({number(ratio, 2)}×).")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
