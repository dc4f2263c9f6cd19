"""``inkstone serve bench``: how fast an engine or an endpoint answers, by load."""
