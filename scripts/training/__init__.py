"""The parts of `train.py`: options, theory, engine, folder, report and picture."""
