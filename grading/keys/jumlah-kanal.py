import torch

small = torch.tensor([[[[1.0, 2], [3, 4]], [[0, -1], [0.5, 2]], [[-4, 0], [1, 1]]]])
hasil["satu kernel 2×2"] = lambda: sum_channels(small.clone())
two = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5) / 7
hasil["dua kernel 5×5"] = lambda: sum_channels(two.clone())
hasil["bentuk untuk 64 kernel 7×7"] = lambda: list(sum_channels(torch.ones(64, 3, 7, 7)).shape)
