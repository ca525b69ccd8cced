"""Features on disk: one file per modality, feature sets, splits, data sets, generated ones."""
