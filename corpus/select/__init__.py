"""Stage ``corpus.select``: which documents are trained on, and in what mixture; no text moves."""
