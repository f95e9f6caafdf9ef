"""Z-space inference: a latent's metrics, what was observed about it, and both blended into a posterior."""
