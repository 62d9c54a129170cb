def best_threshold(logits, labels):
    def youden(threshold):
        predicted = logits > threshold
        return np.mean(predicted[labels == 1]) + np.mean(~predicted[labels == 0]) - 1

    return float(max(np.unique(logits), key=youden))
