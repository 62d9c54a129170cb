# JAWABAN: mayoritas
def majority_accuracy(labels):
    """Akurasi tebakan mayoritas untuk label (N,) bernilai 0 atau 1."""
    positive = np.mean(labels == 1)
    return float(max(positive, 1 - positive))
