def share_read(source, target):
    read = set()
    for i in range(target):
        place = max(0.0, (i + 0.5) * source / target - 0.5)
        left = int(place)
        read.add(left)
        if place - left > 1e-9:
            read.add(min(left + 1, source - 1))
    return (len(read) / source) ** 2
