"""From token stores and conversations to the rows a model is trained on."""
