"""What `replay.py` is made of: reading a run, training it again, comparing, reporting."""
