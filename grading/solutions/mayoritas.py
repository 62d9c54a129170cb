def majority_accuracy(labels):
    positive = np.mean(labels == 1)
    return float(max(positive, 1 - positive))
