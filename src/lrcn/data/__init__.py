"""From disk to tensors: video, manifests, sampling, transforms, caches, and clips made from photos."""
