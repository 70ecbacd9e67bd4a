"""Found as `import wording`, though it lies in a folder below .mdai."""


def describe(score):
    urgency = "urgent" if score > 0.7 else "soon" if score > 0.3 else "can wait"
    return f"triage score {score:.2f}: {urgency}"
