"""The canvas: what travels between the painting browser and the scheduler."""
