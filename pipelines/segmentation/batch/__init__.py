"""From a folder of patients to masks: find, prepare where needed, segment, keep a record."""
