import numpy as np

generator = np.random.default_rng(31)
labels = (generator.random(120) < 0.6).astype(int)
logits = generator.normal(2 * labels - 0.7, 1.6)
val_labels = (generator.random(50) < 0.4).astype(int)
val_logits = generator.normal(val_labels - 0.4, 1.5)
hasil["latih lebih baik"] = lambda: gap_points(
    logits.copy(), labels.copy(), val_logits.copy(), val_labels.copy()
)
hasil["validasi lebih baik"] = lambda: gap_points(
    val_logits.copy(), val_labels.copy(), logits.copy(), labels.copy()
)
hasil["kelas 1 jarang"] = lambda: gap_points(
    logits - 1, labels * (logits > 1), val_logits.copy(), val_labels.copy()
)
