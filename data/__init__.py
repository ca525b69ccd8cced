"""From files on disk to dictionaries of tensors, keyed by modality."""
