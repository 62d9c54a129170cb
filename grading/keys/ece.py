import numpy as np

generator = np.random.default_rng(41)
labels = (generator.random(250) < 0.6).astype(int)
logits = generator.normal(2 * labels - 0.7, 1.6)
probability = 1 / (1 + np.exp(-2.5 * logits))
hasil["jaringan yang terlalu yakin"] = lambda: calibration_error(probability.copy(), labels.copy())
hasil["jaringan yang kurang yakin"] = lambda: calibration_error(
    0.5 + (probability - 0.5) / 5, labels.copy()
)
hasil["citra sedikit, banyak kelompok kosong"] = lambda: [
    calibration_error(np.array([0.91, 0.12, 0.58, 0.93]), np.array([1, 0, 0, 0])),
    calibration_error(np.array([0.22, 0.21]), np.array([0, 1])),
]
