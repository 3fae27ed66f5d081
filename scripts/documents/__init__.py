"""What `write_docs.py` is made of: the pages in docs/, what is generated there, and from what."""
