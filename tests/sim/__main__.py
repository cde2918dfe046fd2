"""`python -m tests.sim --seeds 1000` runs seeds 0 to 999; `--seed 7 --trace` repeats one; `--mutations` shows that the simulator can see.

With `--cluster` there are several brokers and the tree that they agree through, else one that stands alone."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.sim.cluster_mutations import CLUSTER_MUTATIONS
from tests.sim.mutations import MUTATIONS, gate
from tests.sim.run import Failed, Result, run

CHUNK = 4
"""Seeds that a process takes at a time."""


def main() -> int:
    """The exit code is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run only this one")
    parser.add_argument("--cluster", action="store_true", help="several brokers with a tree that they agree through, instead of one alone")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that run them")
    parser.add_argument("--mutations", action="store_true", help="break the product on purpose and see whether it is noticed")
    arguments = parser.parse_args()
    logging.getLogger("zmqmq").setLevel(logging.ERROR)  # lost leases are what this is about
    if arguments.mutations:
        return gate(CLUSTER_MUTATIONS if arguments.cluster else MUTATIONS, arguments.seeds, arguments.cluster)
    seeds = [arguments.seed] if arguments.seed is not None else range(arguments.first, arguments.first + arguments.seeds)
    return storm(seeds, arguments.trace, arguments.cluster, arguments.jobs)


def storm(seeds: Sequence[int], trace: bool, cluster: bool, jobs: int) -> int:
    """Runs the seeds and prints what they have seen."""
    situations: Counter[str] = Counter()
    failures = 0
    began = time.monotonic()
    for result in _results(seeds, partial(_outcome, trace=trace, cluster=cluster), jobs):
        if isinstance(result, str):
            failures += 1
            print(result, flush=True)
            continue
        situations.update(result.situations)
        if len(seeds) == 1:
            print(result.digest)
    print(f"{len(seeds)} seeds, {failures} failed, {time.monotonic() - began:.1f} s")
    print(", ".join(f"{name} {count}" for name, count in sorted(situations.items())))
    return 1 if failures else 0


def _results(seeds: Sequence[int], act: Callable[[int], Result | str], jobs: int) -> Iterator[Result | str]:
    if jobs == 1 or len(seeds) == 1:
        yield from map(act, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(act, seeds, chunksize=CHUNK)


def _outcome(seed: int, trace: bool, cluster: bool) -> Result | str:
    logging.getLogger("zmqmq").setLevel(logging.ERROR)  # lost leases are what this is about
    try:
        return run(seed, trace, cluster)
    except Failed as failure:
        return f"{failure}\n{''.join(traceback.format_exception(failure))}" if trace else str(failure)


if __name__ == "__main__":
    sys.exit(main())
