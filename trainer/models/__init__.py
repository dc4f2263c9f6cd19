"""Models that the trainer builds, loads and saves in Hugging Face's layout."""
