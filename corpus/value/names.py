"""Names of the model-free columns, in the order of the documents' schema."""

TEXT_QUALITY = ("prose_share", "ended_share", "noise_share", "debris_share")
DENSITY = (
    "compression",
    "lexical_variety",
    "numbers_per_token",
    "names_per_token",
    "dates_per_token",
    "facts_per_token",
)
MEASURES = (*TEXT_QUALITY, *DENSITY)
