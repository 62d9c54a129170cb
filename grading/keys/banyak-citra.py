# So many images that rounding up or down, and 1.96 or its further digits, make no difference.
hasil["akurasi tinggi"] = lambda: [n_images(0.9, 0.001), n_images(0.97, 0.0005)]
hasil["akurasi di dekat 0,5"] = lambda: [n_images(0.5, 0.0005), n_images(0.62, 0.0008)]
