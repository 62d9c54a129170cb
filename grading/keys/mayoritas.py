import numpy as np

hasil["kelas 1 lebih banyak"] = lambda: [
    majority_accuracy(np.array([0] * a + [1] * b)) for a, b in ((1, 6), (243, 439))
]
hasil["kelas 0 lebih banyak"] = lambda: [
    majority_accuracy(np.array([1] * a + [0] * b)) for a, b in ((2, 5), (97, 208))
]
hasil["satu kelas saja, dan hampir"] = lambda: [
    majority_accuracy(np.array(one)) for one in ([1] * 4, [0] * 3, [1, 1, 0])
]
