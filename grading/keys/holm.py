hasil["urutan acak"] = lambda: holm_adjusted([0.04, 0.011, 0.3, 0.02, 0.0004])
hasil["nilai yang sama"] = lambda: holm_adjusted([0.03, 0.03, 0.2, 0.03])
hasil["tidak turun lagi"] = lambda: holm_adjusted([0.012, 0.011, 0.016, 0.015])
hasil["satu nilai, dan nilai besar"] = lambda: [
    holm_adjusted([0.2]),
    holm_adjusted([0.6, 0.8, 0.55]),
]
