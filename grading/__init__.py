"""Hand in and grade: what an instructor uses (README, section "Menilai").

Run as `python -m grading WORD`.

exercises.py  `periksa`, the exercises of notebooks 01–04 and their hidden tests
submit.py     `make kumpul`: checks a student's work and packs it
release.py    `make tugas`: what is handed out and what stays
bundle.py     `make bundel`: that with all packages, for no network
grade.py      `make nilai`: a folder of hand-ins → table, a page a student, a page of the class
package.py    reads a ZIP, a folder or a git clone into memory, never to the disk
answers.py    finds the answers in a student's notebook, whatever an editor did to it
box.py        a kernel that sees neither network nor home nor key
marking.py    runs answers in the box and judges, outside of it, what they gave
claims.py     whether the numbers of a report follow from the predictions handed in; whose
              predictions they are
again.py      claimed runs trained again in the box, a student's own code included
challenge.py  `make tantangan`: images whose labels only the key holds, predicted in notebook 05,
              and their ranking

Covered: code that loops, forks, swallows interrupts, eats memory, floods its output, kills its
kernel, looks for files or the network, or returns an object that equals everything; broken, hostile
and copied hand-ins.
Not covered: a fault of the Linux kernel itself; answers that somebody else wrote.
"""
