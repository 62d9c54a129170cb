import numpy as np


def reached(seed, n, up):
    """Youden's index at the threshold that the answer gives: several thresholds may be equally
    good.
    """
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.6).astype(int)
    logits = generator.normal(2 * labels - 0.7, 1.6) + up
    positive = logits > float(best_threshold(logits.copy(), labels.copy()))
    return float(positive[labels == 1].mean() - positive[labels == 0].mean())


hasil["citra sedikit"] = lambda: [reached(21, 25, 0), reached(22, 40, 0)]
hasil["citra banyak"] = lambda: [reached(23, 300, 0), reached(24, 300, 0)]
hasil["logit yang semuanya jauh dari nol"] = lambda: [reached(25, 80, 9), reached(26, 80, -9)]
