"""What `verify.py` is made of: a claim is run, and its record written as text, HTML or JSON."""
