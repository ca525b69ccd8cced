"""MRI cases on disk: layouts, checks, slices, splits, and the embedded synthetic ones."""
