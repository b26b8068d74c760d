"""The chaos test: writers of every command family on the source, faults on everything, then both sides must be equal.

    plan.py      the meaning of a seed: topology, settings, faults and their times
    writes.py    random commands of every family
    writers.py   the threads that send them, and the one that counts up
    sides.py     a deployment with a bad network before it
    job.py       the longhaul under test: started, stopped, killed, robbed of its state
    faults.py    the faults
    deceptions.py  faults that make evidence false, and mistakes; drawn with --deceptive or --only
    lineage.py   which servers may have lost data, by their own words
    truth.py     the sentence of the watermark, checked while the faults go on
    play.py      one seed from beginning to end

`python3 -m chaos --help` runs seeds by hand; `make chaos` does that too. The same seed draws the same writes and the same
faults in the same order; how they fall together in time is up to the machine.
"""
