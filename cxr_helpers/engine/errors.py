"""The one error that a person is meant to read."""


class InputError(ValueError):
    """Wrong input, said in one Indonesian line: what is wrong and what to do. Callers print it and exit with 2."""
