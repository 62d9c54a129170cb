"""How fast training is, as ratios measured in one run: `python -m bench.training_speed`.

Each trial trains the course's ResNet-18 (28×28, batch 32, Adam) for one epoch. The yardstick is
bench/plain_loop.py with torch as it comes. Every trial has a process of its own and alternates with
the yardstick, epoch by epoch, so that another load on the machine meets both; the median of the
paired ratios counts. Exit status 1 when training on a CPU is less than 1.25 times as fast as the
yardstick and uses less than 85% of the float32 peak: near the peak nothing that keeps the numbers
can be so much faster.

What cxr_helpers does is what won. November 2026, two cores of an AMD EPYC (AVX-512), PyTorch 2.15,
256 images, 5 rounds, against the yardstick's 105 images/s: cxr_helpers 1.29× (91% of the float32
peak); without keeping freed memory 1.24×, and the yardstick with it 1.12×; all in NCHW 1.13×;
torch.compile 1.24×; two processes of one thread 145 images/s together, against 143. On a slower
EPYC (201 GFLOP/s; yardstick 57 images/s) it is 1.17–1.20×, at 89–94% of the peak.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import phantom
from bench import plain_loop
from cxr_helpers import data, model, training
from cxr_helpers.engine.indonesian import number
from cxr_helpers.engine.runtime import prepare
from cxr_helpers.model import resolve_weights
from cxr_helpers.training import TrainConfig

BATCH, LEARNING_RATE, TARGET = 32, 4e-4, 1.25
ENOUGH = 0.85  # of the float32 peak: nothing that keeps the numbers could be much faster


class Plain:
    """One epoch of the yardstick."""

    def __init__(self, images, labels, device):
        self.network = model.build(resolve_weights("random"), 0).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.loader = DataLoader(plain_loop.Images(images, labels), batch_size=BATCH, shuffle=True)
        self.device = device

    def __call__(self) -> None:
        plain_loop.epoch(self.network, self.optimizer, self.loader, self.device)


class Ours:
    """One epoch of cxr_helpers.training as a study runs it."""

    def __init__(self, images, labels, device, precision="float32"):
        self.precision = precision
        prepare()
        self.network = model.lay_out(model.build(resolve_weights("random"), 0), device)
        self.inputs = data.to_tensor(images, device)
        self.labels = torch.from_numpy(labels).float().unsqueeze(1).to(device)
        parameters = self.network.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)

    def __call__(self) -> None:
        order = torch.Generator().manual_seed(0)
        batches = training.draw_batches(TrainConfig(), self.labels.squeeze(1).cpu(), order)
        loss = torch.nn.BCEWithLogitsLoss()
        how = {"precision": self.precision}
        method = training.Method(self.optimizer, loss, self.schedule, **how)
        training.train_epoch(self.network, self.inputs, self.labels, batches, method)


PLAIN, OURS = "putaran biasa (DataLoader, PIL, NCHW)", "cxr_helpers"
TRIALS = {
    PLAIN: Plain,
    OURS: Ours,
    # The person's choice, PRECISION: it changes the numbers, and is slower on a CPU whose
    # instructions do not know bfloat16.
    "cxr_helpers, bfloat16": partial(Ours, precision="bfloat16"),
}


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trial:
    """A trial in a process of its own, for `with`, which waits for its first, slow epoch."""

    def __init__(self, name: str, file: Path):
        code = "import sys; from bench import training_speed as t; t.work(*sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, name, file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        self.process.stdout.readline()  # the first epoch
        return self

    def __exit__(self, *error) -> None:
        self.process.communicate()  # closes its input, and it ends

    def seconds(self) -> float:
        """Of one more epoch."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def work(name: str, file: str) -> None:
    """In a trial's process: an epoch, then one for every line that comes in; prints its seconds."""
    with np.load(file) as arrays:
        run = TRIALS[name](arrays["images"], arrays["labels"], device())
    print(clock(run), flush=True)
    for _ in sys.stdin:
        print(clock(run), flush=True)


def clock(run: Callable[[], object]) -> float:
    """Seconds that `run` takes, the GPU's work included."""
    begin = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def float32_peak(on: torch.device, side: int = 2048) -> float:
    """Multiply-adds a second of the best large float32 product: torch.mm (MKL), or a 1×1
    convolution (oneDNN), which wins on AMD.
    """
    a = torch.randn(side, side, device=on)
    image = torch.randn(1, side, side, 1, device=on).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(side, side, 1, 1, device=on)
    products = [partial(torch.mm, a, a), partial(F.conv2d, image, kernel)] * 8
    return side**3 / min(map(clock, products))


def measure(images: int, rounds: int) -> tuple[dict, dict]:
    """({trial: images a second}, {trial: how many times as fast as the yardstick, paired}), the
    median of the rounds each; prints the table.
    """
    plain_rates, rates, ratios = [], {}, {}
    print("| Percobaan | citra/s | terhadap putaran biasa, berpasangan |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "citra.npz")
        pictures, labels, _ = phantom.more_test_images(images)
        np.savez(file, images=pictures, labels=labels)
        with Trial(PLAIN, file) as plain:
            for name in list(TRIALS)[1:]:
                with Trial(name, file) as trial:
                    pairs = [(plain.seconds(), trial.seconds()) for _ in range(rounds)]
                plain_rates += [images / theirs for theirs, _ in pairs]
                rates[name] = statistics.median(images / ours for _, ours in pairs)
                paired = sorted(theirs / ours for theirs, ours in pairs)
                ratios[name] = statistics.median(paired)
                print(
                    f"| {name} | {number(rates[name], 1)} | {number(ratios[name], 2)}× "
                    f"[{number(paired[0], 2)}; {number(paired[-1], 2)}] |",
                    flush=True,
                )
    print(f"| {PLAIN} | {number(statistics.median(plain_rates), 1)} | 1 |")
    return rates, ratios


def main() -> int:
    parser = argparse.ArgumentParser(description="Kecepatan pelatihan")
    parser.add_argument("--images", type=int, default=256, help="citra tiap epoch (bawaan: 256)")
    parser.add_argument("--rounds", type=int, default=5, help="banyaknya putaran (bawaan: 5)")
    options = parser.parse_args()
    on = device()
    peak = float32_peak(on)
    print(
        f"Perangkat: {on}, {torch.get_num_threads()} thread; {options.images} citra tiap epoch, "
        f"{options.rounds} putaran; median [terendah; tertinggi]\n"
    )
    rates, ratios = measure(options.images, options.rounds)
    with FlopCounterMode(display=False) as forward:
        model.course_resnet18()(torch.zeros(2, 1, 28, 28))
    # two images, two operations a multiply-add; backward costs about twice the forward pass
    share, ratio = 3 * forward.get_total_flops() / 4 * rates[OURS] / peak, ratios[OURS]
    print(f"\nPuncak float32: {2 * peak / 1e9:.0f} GFLOP/s; dipakai pelatihan: {100 * share:.0f}%.")
    if on.type != "cpu":
        return 0
    reached = ratio >= TARGET or share >= ENOUGH
    print(
        f"Sasaran: ≥ {number(TARGET, 2)}× putaran biasa, atau ≥ {100 * ENOUGH:.0f}% puncak; "
        f"{'tercapai' if reached else 'tidak tercapai'} ({number(ratio, 2)}×, {100 * share:.0f}%)."
    )
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
