# JAWABAN: banyak-citra
def n_images(share, half):
    """Banyaknya citra untuk setengah lebar interval 95% sebesar half, misalnya n_images(0.85,
    0.02).
    """
    return int(np.ceil(1.96**2 * share * (1 - share) / half**2))
