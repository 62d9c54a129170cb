def calibration_error(probability, labels):
    chosen = probability > 0.5
    confidence = np.where(chosen, probability, 1 - probability)
    correct = chosen == (labels == 1)
    group = np.minimum((confidence * 15).astype(int), 14)
    error = 0.0
    for one in np.unique(group):
        inside = group == one
        error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return float(error)
