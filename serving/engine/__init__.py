"""Our engine: continuous batching over cache slots, in a thread of its own."""
