"""The report: one HTML page that shows a whole run, from text to episodes."""
