"""The headline: is the student better than the one that a user would have drawn by hand?

    python tests/benchmarks/headline/run.py --data F [--arms P A B ...] [--seeds 5] [--results FILE] [--scratch FOLDER]
        [--list] [--quick]

Runs what the results file lacks, one line of JSON a run, then prints the report. A run that was killed goes on from its
last epoch if its scratch folder is still there, else starts anew. Several processes with one scratch folder and one
results file share the work; machines share it by `--seeds` or `--arms`, and their results files can be concatenated.

`--data`: F (Fashion-MNIST, 20,000 training samples), F-full (all of them: arms A, A+ and A+w, and the best H of F,
whose lines must be in the same file), D (digits), T (Tiny-ImageNet-20), T-third (the same with less memory), T1 (with a
teacher that saw ImageNet), or tiny, which tries the benchmark itself. `--seeds 5` means 0 to 4, `--seeds 0 2` these
two, `--seeds 3-4` 3 to 4. `--quick` is A, B, C2 and H without tuned methods, on digits with 2 seeds, in 25 minutes.
What each arm is stands in `protocol.py`.
"""

from work import main

if __name__ == "__main__":
    main(__doc__)
