"""The trainer room: token store and conversations to checkpoints."""
