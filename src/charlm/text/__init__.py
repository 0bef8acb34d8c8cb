"""From a table of documents to encoded characters."""
