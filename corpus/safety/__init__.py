"""Personal data, unsafe domains and word lists: what is masked, counted or rejected."""
