"""`predict.py softmax`: options, theory, phases, measurement, report and pictures."""
