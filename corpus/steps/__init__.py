"""The steps of a build, each over one shard or over all; none of them knows Ray."""
