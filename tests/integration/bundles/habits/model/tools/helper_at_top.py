def name():
    return "a helper beside .mdai"
