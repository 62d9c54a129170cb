"""Show that the phantom teaches the course's lesson: the recipe memorises it, the test loss turns, no trivial cue solves it.

Run: python bench/phantom_calibration.py [--data-seed 0] [--seeds 0 1] [--threads 2]   (7–8 minutes a seed on 2 cores)
Exit status 1 when a target is missed, 2 on wrong input.
"""

import argparse
import sys
import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.models import resnet18

from cxr_helpers.engine import phantom
from cxr_helpers.engine.errors import InputError

EPOCHS, BATCH_SIZE, LEARNING_RATE = 10, 32, 4e-4  # the course's recipe


def single_label(arrays: dict, truth: dict, split: str) -> dict[str, np.ndarray]:
    """Images (N,28,28) uint8, labels as written and as drawn (N,) in {0,1} of the rows with one of the two labels only."""
    labels = arrays[f"{split}_labels"]
    rows = (labels.sum(1) == 1) & (labels[:, [phantom.CARDIOMEGALY, phantom.PNEUMOTHORAX]].sum(1) == 1)
    written = labels[rows, phantom.PNEUMOTHORAX].astype(np.int64)
    return dict(images=arrays[f"{split}_images"][rows], written=written, drawn=written ^ truth[f"{split}_flipped"][rows])


def linear_accuracy(splits: dict, features) -> float:
    """Test accuracy of a logistic regression; the strength of its penalty is chosen on val."""
    x = {name: features(s["images"]).astype(np.float64) for name, s in splits.items()}
    best = (-1.0, 0.0)
    for strength in (1e-4, 1e-3, 1e-2, 1e-1):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        fitted.fit(x["train"], splits["train"]["written"])
        scores = tuple(fitted.score(x[name], splits[name]["written"]) for name in ("val", "test"))
        best = max(best, scores, key=lambda pair: pair[0])
    return best[1]


def network() -> nn.Module:
    """ResNet-18 with random weights, a 3×3 stem of stride 1 without pooling, one logit."""
    net = resnet18(weights=None)
    net.conv1 = nn.Conv2d(1, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = nn.Identity()
    net.fc = nn.Linear(net.fc.in_features, 1)
    return net.to(memory_format=torch.channels_last)


def train(splits: dict, seed: int) -> list[dict[str, float]]:
    """One row per epoch: train accuracy and loss as met during training, test loss, test accuracy (written and drawn)."""
    torch.manual_seed(seed)
    net, loss_of = network(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    x, y = {}, {}
    for name in ("train", "test"):
        pixels = torch.from_numpy(splits[name]["images"])[:, None]
        x[name] = ((pixels / 255 - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
        y[name] = torch.from_numpy(splits[name]["written"]).float()[:, None]
    drawn = torch.from_numpy(splits["test"]["drawn"]).float()[:, None]
    history = []
    for epoch in range(1, EPOCHS + 1):
        started, total, right = time.perf_counter(), 0.0, 0
        net.train()
        for rows in torch.randperm(len(y["train"])).split(BATCH_SIZE):
            target = y["train"][rows]
            optimizer.zero_grad(set_to_none=True)
            logits = net(x["train"][rows])
            loss = loss_of(logits, target)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
            right += ((logits > 0) == (target > 0.5)).sum().item()
        net.eval()
        with torch.no_grad():
            logits = torch.cat([net(part) for part in x["test"].split(256)])
        row = dict(epoch=epoch, train_loss=total / len(y["train"]), train=right / len(y["train"]))
        row |= dict(test_loss=loss_of(logits, y["test"]).item())
        row |= {n: ((logits > 0) == (t > 0.5)).float().mean().item() for n, t in (("test", y["test"]), ("drawn", drawn))}
        history.append(row)
        cells = [id_number(row[k]) for k in ("train_loss", "train", "test_loss", "test", "drawn")]
        seconds = time.perf_counter() - started
        print(f"| {epoch:5} | " + " | ".join(f"{c:>10}" for c in cells) + f" | {seconds:5.0f} |", flush=True)
    return history


def id_number(value: float) -> str:
    return f"{value:.3f}".replace(".", ",")


class Targets:
    """Prints one row per target and remembers whether any was missed."""

    def __init__(self):
        self.missed = 0

    def check(self, name: str, value: float | int, wanted: str, met: bool) -> None:
        self.missed += not met
        shown = id_number(value) if isinstance(value, float) else str(value)
        print(f"| {name:<58} | {shown:>6} | {wanted:<15} | {'ya' if met else 'TIDAK':<8} |", flush=True)

    @staticmethod
    def header() -> None:
        print(f"\n| {'Sasaran':<58} | {'nilai':>6} | {'syarat':<15} | {'tercapai':<8} |")
        print(f"|{'-' * 60}|{'-' * 8}|{'-' * 17}|{'-' * 10}|")


def main() -> int:
    parser = argparse.ArgumentParser(description="Kalibrasi fantom toraks")
    parser.add_argument("--data-seed", type=int, default=0, help="seed fantom (bawaan: 0)")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="seed pelatihan; kosong: tanpa pelatihan")
    parser.add_argument("--threads", type=int, default=2, help="jumlah thread (bawaan: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    started = time.perf_counter()
    arrays, truth = phantom.generate(options.data_seed)
    print(
        f"Fantom versi {phantom.VERSION}, seed {options.data_seed}: digambar dalam {time.perf_counter() - started:.1f} s".replace(
            ".", ","
        )
    )
    splits = {name: single_label(arrays, truth, name) for name in phantom.SINGLE_LABEL}
    for name, s in splits.items():
        flips = int((s["written"] != s["drawn"]).sum())
        n, positive = len(s["written"]), int(s["written"].sum())
        print(
            f"  {name:<5}: {n - positive} Cardiomegaly, {positive} Pneumothorax, {flips} label terbalik ({id_number(flips / n)})"
        )

    test = splits["test"]
    majority = float(test["written"].mean())
    ceiling = float((test["written"] == test["drawn"]).mean())
    pixels = linear_accuracy(splits, lambda images: images.reshape(len(images), -1))
    mean = linear_accuracy(splits, lambda images: images.mean(axis=(1, 2))[:, None])
    targets = Targets()
    Targets.header()
    targets.check("Batas atas akurasi test akibat label terbalik", ceiling, "≥ 0,900", ceiling >= 0.9)
    targets.check("Akurasi test regresi logistik pada piksel", pixels, "< 0,800", pixels < 0.8)
    wanted = f"{id_number(majority)} ± 0,030"
    targets.check("Akurasi test dari rerata intensitas saja", mean, wanted, abs(mean - majority) <= 0.03)

    for seed in options.seeds:
        print(f"\nResep kuliah, bobot awal acak, seed {seed}")
        heads = ("train loss", "train acc", "test loss", "test acc", "anatomi")
        print(f"| {'epoch':>5} | " + " | ".join(f"{h:>10}" for h in heads) + f" | {'detik':>5} |")
        print(f"|{'-' * 7}|" + "|".join(["-" * 12] * 5) + f"|{'-' * 7}|")
        history = train(splits, seed)
        best, last = max(row["test"] for row in history), history[-1]
        reached = max(row["train"] for row in history)
        turn = min(history, key=lambda row: row["test_loss"])["epoch"]
        Targets.header()
        targets.check("Akurasi train tertinggi sampai epoch 10", reached, "≥ 0,920", reached >= 0.92)
        targets.check("Akurasi test terbaik", best, "0,820–0,880", 0.82 <= best <= 0.88)
        gap = last["train"] - last["test"]
        targets.check("Selisih train − test pada epoch 10", gap, "≥ 0,080", gap >= 0.08)
        targets.check("Epoch dengan test loss terendah (sesudahnya naik)", turn, "< 6", turn < 6)
    print(f"\n{'Semua sasaran tercapai.' if not targets.missed else f'{targets.missed} sasaran tidak tercapai.'}")
    return int(targets.missed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
