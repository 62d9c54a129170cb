"""What works behind the helpers and nobody needs to read in order to learn.

files, errors, indonesian: places, the one line for a person, numbers as Indonesian writes them.
settings, results: what goes into a notebook and what it hands on. sources, npz, ownfiles: where
data and weights come from, what a data file holds, what a checkpoint or picture holds. owncode,
runs, parallel, runtime: a student's own code as text, the store of trainings, many at once, and
what they run on. Nothing here imports a file that is read to learn (tests/test_rooms.py).
"""
