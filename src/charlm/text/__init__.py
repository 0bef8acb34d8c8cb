"""The text stages: documents are read, cleaned, split and encoded as tokens."""
