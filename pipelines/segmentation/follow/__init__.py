"""Tumors over time: what the dates of a patient in a folder of `cggm segment` say together."""
