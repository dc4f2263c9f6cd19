"""The quality classifier: fastText, trained inside the build on its own train split."""
