"""The pages in docs/: what is generated in them, and from what."""
