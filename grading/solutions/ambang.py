def accuracy_at(logits, labels, probability):
    predicted = 1 / (1 + np.exp(-logits)) > probability
    return float(np.mean(predicted == (labels == 1)))
