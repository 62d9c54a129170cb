"""How fast training is, as ratios measured in one run: `python -m bench.training_speed`.

The course's ResNet-18 (28×28, batch 32, Adam) is trained by the course's loop, which is the
yardstick (DataLoader, PIL transforms, NCHW, item() at every batch, torch as it comes), and by
cxr_helpers.training, which does the same arithmetic. Each has a process of its own; they alternate,
epoch by epoch, so that another load on the machine meets both; the median of the paired ratios
counts. Exit status 1 when training is less than 1.15 times as fast as the yardstick.

What cxr_helpers does is what won. November 2026, two cores of an AMD EPYC (AVX-512), PyTorch 2.15,
256 images, 5 rounds, against the yardstick's 105 images/s: cxr_helpers 1.29× (91% of the float32
peak); without keeping freed memory 1.24×, and the yardstick with it 1.12×; all in NCHW 1.13×;
torch.compile 1.24×; two processes of one thread 145 images/s together, against 143. On a slower
EPYC (201 GFLOP/s; yardstick 57 images/s) it is 1.17–1.20×, at 89–94% of the peak.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import phantom
from cxr_helpers import data, model, training
from cxr_helpers.engine.indonesian import number
from cxr_helpers.engine.runtime import prepare
from cxr_helpers.model import resolve_weights
from cxr_helpers.training import TrainConfig

BATCH, LEARNING_RATE, TARGET = 32, 4e-4, 1.15


class Images(Dataset):
    """uint8 images (N, H, W) and labels (N,) one by one, through PIL."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        steps = [transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int):
        image, label = Image.fromarray(self.images[i]), float(self.labels[i])
        return self.transform(image), torch.tensor([label])


class Plain:
    """One epoch of the yardstick: the course's loop as most tutorials write it."""

    def __init__(self, images, labels, device):
        self.network = model.build(resolve_weights("random"), 0).to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.loader = DataLoader(Images(images, labels), batch_size=BATCH, shuffle=True)
        self.device, self.criterion = device, torch.nn.BCEWithLogitsLoss()

    def __call__(self) -> tuple[float, float]:
        total, right = 0.0, 0
        self.network.train()
        for images, labels in self.loader:
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad()
            outputs = self.network(images)
            loss = self.criterion(outputs, labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels)
            right += ((outputs > 0) == (labels > 0.5)).sum().item()
        return total / len(self.loader.dataset), right / len(self.loader.dataset)


class Ours:
    """One epoch of cxr_helpers.training as a study runs it."""

    def __init__(self, images, labels, device):
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
        method = training.Method(self.optimizer, torch.nn.BCEWithLogitsLoss(), self.schedule)
        training.train_epoch(self.network, self.inputs, self.labels, batches, method)


PLAIN, OURS = "putaran biasa (DataLoader, PIL, NCHW)", "cxr_helpers"
TRIALS = {PLAIN: Plain, OURS: Ours}


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def begin(name: str, file: str) -> None:
    """In a trial's process: make it, and train its first, slow epoch."""
    with np.load(file) as arrays:
        begin.trial = TRIALS[name](arrays["images"], arrays["labels"], device())
    seconds()


def seconds() -> float:
    """Of one more epoch of this process's trial, the GPU's work included."""
    start = time.perf_counter()
    begin.trial()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def process(name: str, file: Path) -> ProcessPoolExecutor:
    """The process of a trial: it answers `seconds`."""
    return ProcessPoolExecutor(1, get_context("spawn"), begin, (name, file))


def measure(images: int, rounds: int) -> float:
    """How many times as fast as the yardstick training is: the median of the paired rounds, which
    it prints with images a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "citra.npz")
        pictures, labels, _ = phantom.more_test_images(images)
        np.savez(file, images=pictures, labels=labels)
        with process(PLAIN, file) as plain, process(OURS, file) as ours:
            turns = []
            for _ in range(rounds):
                theirs = plain.submit(seconds).result()
                turns.append((theirs, ours.submit(seconds).result()))
    paired = sorted(theirs / ours for theirs, ours in turns)
    ratio = statistics.median(paired)
    for name, times in zip((PLAIN, OURS), zip(*turns, strict=True), strict=True):
        print(f"{name}: {number(images / statistics.median(times), 1)} citra/s")
    ends = f"[{number(paired[0], 2)}; {number(paired[-1], 2)}]"
    print(f"berpasangan: {number(ratio, 2)}× {ends}")
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description="Kecepatan pelatihan")
    parser.add_argument("--images", type=int, default=256, help="citra tiap epoch (bawaan: 256)")
    parser.add_argument("--rounds", type=int, default=5, help="banyaknya putaran (bawaan: 5)")
    options = parser.parse_args()
    print(
        f"Perangkat: {device()}, {torch.get_num_threads()} thread; {options.images} citra tiap "
        f"epoch, {options.rounds} putaran; median [terendah; tertinggi]\n"
    )
    ratio = measure(options.images, options.rounds)
    word = "tercapai" if ratio >= TARGET else "tidak tercapai"
    print(f"\nSasaran: ≥ {number(TARGET, 2)}× putaran biasa; {word} ({number(ratio, 2)}×).")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
