"""A model as a repository of the Hugging Face Hub."""
