"""What works behind the helpers and nobody needs to read in order to learn.

Settings and what `auto` chose, files and downloads, the run store, worker processes, threads and
memory. Of these only the run store and the workers know training; nothing here knows plots, `show`
or the notebooks (tests/test_rooms.py).
"""
