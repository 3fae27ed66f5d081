"""What `environments.py` is made of: the source, a fresh environment, and the wheel's checks."""
