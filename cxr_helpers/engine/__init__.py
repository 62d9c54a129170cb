"""What works behind the helpers and nobody needs to read in order to learn.

Settings and what `auto` chose, files and downloads, the phantom's generator, the run store, worker
processes, threads and memory. Of these only the run store and the workers know training; nothing
here knows plots, `chapter` or the notebooks (tests/test_rooms.py).
"""
