"""What a document is worth, in several dimensions: measured columns and trained classifiers."""
