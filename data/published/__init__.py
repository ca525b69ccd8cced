"""The published features of CMU-MOSI, IEMOCAP and UPMC-Food 101, read safely."""
