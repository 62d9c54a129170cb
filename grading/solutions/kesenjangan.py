def gap_points(train_logits, train_labels, val_logits, val_labels):
    def accuracy(logits, labels):
        return np.mean((logits > 0) == (labels == 1))

    return float(100 * (accuracy(train_logits, train_labels) - accuracy(val_logits, val_labels)))
