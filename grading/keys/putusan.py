hasil["seluruhnya di satu sisi nol"] = lambda: [
    decide(0.011, 0.09, 0.02),
    decide(-0.3, -0.021, 0.02),
    decide(-0.03, -0.001, 0.02),
]
hasil["seluruhnya di dalam batas, atau tepat di luarnya"] = lambda: [
    decide(-0.019, 0.018, 0.02),
    decide(0.002, 0.015, 0.02),
    decide(-0.012, -0.003, 0.02),
    decide(0.002, 0.025, 0.02),
]
hasil["memuat nol dan melampaui batas"] = lambda: [
    decide(-0.01, 0.05, 0.02),
    decide(-0.021, 0.001, 0.02),
    decide(-0.2, 0.2, 0.02),
]
hasil["batas yang lain"] = lambda: [
    decide(-0.04, 0.03, 0.05),
    decide(-0.04, 0.03, 0.005),
    decide(0.001, 0.002, 0.0001),
]
