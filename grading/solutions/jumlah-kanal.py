# JAWABAN: jumlah-kanal
def sum_channels(weight):
    """Kernel RGB (N, 3, k, k) → kernel keabuan (N, 1, k, k) yang mempertahankan tanggapan."""
    return weight.sum(dim=1, keepdim=True)
