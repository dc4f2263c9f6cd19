"""Where and how things run: connecting to Ray, recipes, artifacts, progress, the runner."""
