"""Sources: from a config to shards, from a shard to records."""
