"""Ways of measuring: each file one method."""
