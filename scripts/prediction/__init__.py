"""What `predict.py` is made of: input, theory, measurement, report and picture."""
