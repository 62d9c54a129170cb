"""Hand in and grade: what an instructor uses (docs/pengajar.md).

exercises   `periksa`, the exercises of notebooks 01–04 and their hidden tests
submit      `make kumpul`; release: `make tugas`; grade: `make nilai`; bundel.sh: `make bundel`;
            challenge: `make tantangan`
package     reads a hand-in into memory; answers finds in it what was asked
box         a kernel that sees neither network nor home nor key; inside is what lies in it
marking     runs answers in the box and grades, outside of it, what they gave
claims      whether a report's numbers follow from its predictions; shown: whether its pages show
            them; again trains runs once more
pages       what an instructor reads

Not covered: a fault of the Linux kernel itself; answers that somebody else wrote.
"""
