"""What works behind the helpers and nobody needs to read in order to learn.

errors, files, indonesian: small tools. settings, results: what goes into a notebook and what it
hands on. sources, npz, ownfiles: where images and weights come from, and what such files hold.
owncode, runs, parallel, runtime: a student's own code, the store of trainings, several at once, and
what they run on. Nothing here imports a file that is read to learn (tests/test_rooms.py).
"""
