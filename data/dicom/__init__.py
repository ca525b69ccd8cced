"""DICOM folders: series sorted by place, recognized as sequences, written as NIfTI."""
