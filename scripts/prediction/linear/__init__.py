"""`predict.py linear`: options, problem, theory, measurement, report and picture."""
