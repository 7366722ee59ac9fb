"""From frames to scores: the CNN, what is read of it, the network over time, and the model folder."""
