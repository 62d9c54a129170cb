"""What works behind the helpers and nobody needs to read in order to learn; nothing here imports a
file that is read to learn (tests/test_rooms.py).
"""
