"""The course's training loop, written as most tutorials write it: DataLoader, PIL transforms, NCHW,
item() at every batch.

It is the yardstick of bench/training_speed.py and does the same arithmetic as cxr_helpers.training.
"""

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Images(Dataset):
    """uint8 images (N, H, W) and labels (N,) one by one, through PIL."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels
        steps = [transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int):
        image, label = Image.fromarray(self.images[i]), float(self.labels[i])
        return self.transform(image), torch.tensor([label])


def epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader, device: torch.device
) -> tuple[float, float]:
    """One epoch; (mean loss, accuracy)."""
    criterion, total, right, count = nn.BCEWithLogitsLoss(), 0.0, 0, 0
    network.train()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = network(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        right += ((outputs > 0) == (labels > 0.5)).sum().item()
        count += len(labels)
    return total / count, right / count
