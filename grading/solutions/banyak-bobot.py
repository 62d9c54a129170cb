def n_weights(outputs, inputs, side):
    return outputs * inputs * side**2
