import numpy as np

generator = np.random.default_rng(11)
labels = (generator.random(90) < 0.6).astype(int)
logits = generator.normal(2 * labels - 0.7, 1.6)
hasil["di bawah 0,5"] = lambda: [accuracy_at(logits.copy(), labels.copy(), p) for p in (0.1, 0.35)]
hasil["di atas 0,5"] = lambda: [accuracy_at(logits.copy(), labels.copy(), p) for p in (0.65, 0.8)]
hasil["tepat 0,5"] = lambda: [
    accuracy_at(logits.copy(), labels.copy(), 0.5),
    accuracy_at(-logits, labels.copy(), 0.5),
]
