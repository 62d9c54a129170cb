def sum_channels(weight):
    return weight.sum(dim=1, keepdim=True)
