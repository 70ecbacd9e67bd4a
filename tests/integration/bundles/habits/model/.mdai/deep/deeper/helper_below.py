from helper_at_top import name  # helpers import each other as freely


def names():
    return [name(), "a helper two folders below .mdai"]
