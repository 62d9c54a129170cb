def n_images(share, half):
    return int(np.ceil(1.96**2 * share * (1 - share) / half**2))
