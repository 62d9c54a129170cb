def decide(low, high, p, margin):
    if -margin < low and high < margin:
        return "setara"
    if p >= 0.05:
        return "belum dapat diputuskan"
    return "lebih baik" if low > 0 else "lebih buruk"
