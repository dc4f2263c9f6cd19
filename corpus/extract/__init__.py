"""From a page to its text."""
