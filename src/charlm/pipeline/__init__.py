"""The workflow's own needs, besides its stages: configuration, logs, clusters, records."""
