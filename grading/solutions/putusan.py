# JAWABAN: putusan
def decide(low, high, margin):
    """Salah satu dari "lebih baik", "lebih buruk", "setara", "belum dapat diputuskan"."""
    if -margin < low and high < margin:
        return "setara"
    if low > 0:
        return "lebih baik"
    if high < 0:
        return "lebih buruk"
    return "belum dapat diputuskan"
