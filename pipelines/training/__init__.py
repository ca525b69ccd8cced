"""A method inside MONAI's trainer, and what training needs around it."""
