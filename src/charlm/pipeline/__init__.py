"""What the workflow needs beside its stages: configuration, logs, clusters, records."""
