"""The engines: ways to compute a recurrent layer."""
