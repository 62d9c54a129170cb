hasil["lapisan dengan banyak kanal"] = lambda: [n_weights(128, 64, 3), n_weights(256, 128, 3)]
hasil["satu kanal masukan"] = lambda: [n_weights(10, 1, 5), n_weights(16, 1, 7)]
hasil["kernel 1×1"] = lambda: [n_weights(32, 16, 1), n_weights(7, 3, 1)]
