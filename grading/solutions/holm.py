def holm_adjusted(p_values):
    p_values = np.asarray(p_values, dtype=float)
    adjusted, highest = np.empty(len(p_values)), 0.0
    for step, row in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[row]))
        adjusted[row] = highest
    return adjusted.tolist()
