# JAWABAN: banyak-bobot
def n_weights(outputs, inputs, side):
    """Banyaknya bobot sebuah lapisan konvolusi tanpa bias."""
    return outputs * inputs * side**2
