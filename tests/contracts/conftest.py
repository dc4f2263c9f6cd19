"""Property tests here are about values, not about speed on a busy machine."""

from hypothesis import settings

settings.register_profile("contracts", deadline=None, max_examples=60)
settings.load_profile("contracts")
