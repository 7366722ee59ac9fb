"""Measuring: how well clips are recognised, and how a camera moves by another way than a network."""
