"""A document as the classifier reads it."""

LINE_END = "<nl>"


def classifier_text(text: str, max_chars: int) -> str:
    """The start of a text on one line: lower case, line ends as a word of their own."""
    lines = text[:max_chars].lower().split("\n")
    return f" {LINE_END} ".join(" ".join(line.split()) for line in lines if line.strip())
