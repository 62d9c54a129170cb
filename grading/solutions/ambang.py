# JAWABAN: ambang
def accuracy_at(logits, labels, probability):
    """Akurasi (0 sampai 1) logit (N,) terhadap label (N,) pada sebuah ambang probabilitas."""
    predicted = 1 / (1 + np.exp(-logits)) > probability
    return float(np.mean(predicted == (labels == 1)))
