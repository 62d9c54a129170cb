# JAWABAN: putusan
def decide(low, high, p, margin):
    """Salah satu dari "lebih baik", "lebih buruk", "setara", "belum dapat diputuskan"."""
    if -margin < low and high < margin:
        return "setara"
    if p >= 0.05:
        return "belum dapat diputuskan"
    return "lebih baik" if low > 0 else "lebih buruk"
