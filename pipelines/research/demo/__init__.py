"""The demonstration: a bundle trained, compared with joint training, and drawn on a page."""
