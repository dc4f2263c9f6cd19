"""The HTML report of a corpus: what went in, what stayed, and what the rules did to it."""
