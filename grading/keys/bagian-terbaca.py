hasil["ke 3×3"] = lambda: [share_read(source, 3) for source in (4, 6, 8, 11)]
hasil["ke ukuran lain"] = lambda: [
    share_read(11, 5),
    share_read(8, 2),
    share_read(10, 4),
    share_read(9, 4),
]
hasil["ukuran yang sama dan yang lebih besar"] = lambda: [
    share_read(5, 5),
    share_read(3, 7),
    share_read(6, 2),
]
