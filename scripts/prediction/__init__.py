"""What `predict.py` is made of: one folder for each model, and what both of them share."""
