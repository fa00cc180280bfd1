"""How long training takes on this machine, beside the reference's way of computing the same: `make bench`.

Rates of the machine's matrix products first; then, for each preset, time, throughput, arithmetic and peak memory of
augmentation, both stages, sampling and the FCN. Ours and the baseline alternate (A B A B ...) in one process, whose
allocator serves both alike; peak memory is measured in a process of its own for each. With one thread on a CPU, times
are the process's CPU time, which is the wall-clock time on an idle machine and stays right on a busy one.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
from pathlib import Path

import bench_steps
import torch
from bench_baseline import AGAINST_AUTHORS, LOOPS
from bench_steps import FULL, QUICK, clock, empty_memory, matmul_rates, peak_memory, race

STEPS = ("paper", "paper bf16")  # they share one baseline, which has the networks of the reference and no others


def in_child(fn, *args):
    """Run fn(*args) in a fresh process, which shares nothing but the imports, and return its result."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server, a new Python, finds there what it preloads
        context.set_forkserver_preload([bench_steps.__name__])
    with context.Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(fn, args)


def groups():
    """(task, variants that share a baseline), in the order of the table."""
    tasks = [(f"augment {name}", (v,)) for v in ("paper", "improved") for name in (*LOOPS, "all")]
    tasks += [(f"stage 1 {arm}", STEPS) for arm in ("regular", "barlowtwins-warp", "vibcreg-gauss")]
    tasks += [(f"stage 2 {head}", STEPS) for head in ("tied", "untied")]
    tasks += [(f"sampling {head}", ("paper",)) for head in ("tied", "untied")]
    return tasks + [("FCN step", STEPS)]


COLUMNS = (
    *("what", "preset", "format", "ms", "(quartiles)", "series/s", "GFLOP", "GFLOP/s", "of matmul", "MB"),
    *("baseline ms", "(quartiles)", "MB", "times faster", "(quartiles)"),
)


def fastest(rates, precision):
    """GFLOP/s of matrix products that a step in a format could reach; rates: format -> GFLOP/s.

    A processor without bf16 instructions imitates them, and its fp32 products are the faster ones.
    """
    return rates["fp32"] if precision == "fp32" else max(rates.values())


def table_row(row, rate):
    """The cells of one row; `rate` is that of `fastest`, GFLOP/s."""
    speed = row["gflop"] / row["ms"][0] * 1e3  # GFLOP/s
    arithmetic = [f"{row['gflop']:.1f}", f"{speed:.0f}", f"{speed / rate:.0%}"] if row["gflop"] else ["-"] * 3
    ours = [*_spread(row["ms"]), f"{row['series_per_second']:.0f}", *arithmetic, f"{row['mb']:.0f}"]
    baseline = [*_spread(row["baseline_ms"]), f"{row['baseline_mb']:.0f}"]
    return [row["task"], row["variant"], row["precision"], *ours, *baseline, *_spread(row["speed_up"])]


def _spread(quartiles):
    middle, low, high = (f"{v:.2f}" if abs(v) < 10 else f"{v:.0f}" for v in quartiles)
    return [middle, f"({low}..{high})"]


def format_table(rows):
    """Rows of texts, the first one the head, as lines of aligned columns: the first three to the left, others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    align = [str.ljust] * 3 + [str.rjust] * (len(widths) - 3)
    return "\n".join("  ".join(f(t, w) for f, t, w in zip(align, row, widths, strict=True)).rstrip() for row in rows)


def bench(size, threads, device, chosen=None, report=lambda line: print(line, file=sys.stderr, flush=True)):
    """Measure everything; returns {"machine": ..., "rates": ..., "rows": [...]}.

    chosen  only tasks whose name contains this text
    report  gets a line as each group of rows starts
    """
    machine = {"device": device if device == "cpu" else torch.cuda.get_device_name(device)}
    machine |= {"processor": platform.machine(), "cores": os.cpu_count(), "threads": threads}
    machine |= {"torch": torch.__version__, "size": size._asdict(), "clock": clock(threads, device).__name__}
    result = dict(machine=machine, rates=in_child(matmul_rates, threads, device), rows=[])
    result["empty_mb"] = in_child(empty_memory, device)
    if device == "cpu":
        result["rates_all_threads"] = in_child(matmul_rates, os.cpu_count(), device)
    for task, variants in groups():
        if chosen and chosen not in task:
            continue
        report(f"{task}, {' and '.join(variants)}")
        rows = in_child(race, task, variants, size, threads, device)
        baseline_mb = in_child(peak_memory, task, variants[0], False, size, threads, device)
        for row in rows:
            row["mb"] = in_child(peak_memory, task, row["variant"], True, size, threads, device)
            row["baseline_mb"] = baseline_mb
        result["rows"] += rows
    return result


def describe(result):
    """The result of `bench` as text: the machine, its rates, and the table."""
    machine, rates = result["machine"], result["rates"]
    size = machine["size"]
    threads = f", {machine['threads']} of {machine['cores']} threads" if machine["device"] == "cpu" else ""
    device = f"{machine['device']} ({machine['processor']}){threads}"
    lines = [f"{device}, torch {machine['torch']}; times: {machine['clock']}"]
    for name, found in (("", rates), (" with all threads", result.get("rates_all_threads"))):
        if found:
            lines.append(f"matrix products{name}: " + ", ".join(f"{k} {v:.0f} GFLOP/s" for k, v in found.items()))
    lines.append(
        f"stage 1: B {size['batch']}, L {size['length']}; augmentation: B {size['batch']}, L {size['long']}; "
        f"stage 2, sampling (10 steps, conditional), FCN: B {size['prior_batch']}, N 40, L {size['length']}"
    )
    lines.append("baseline: the reference's way, fp32. Times are medians; the ratio is that of neighbouring runs.")
    lines.append(AGAINST_AUTHORS)
    lines.append(f"memory: peak of a process of its own; {result['empty_mb']:.0f} MB of it are there before any work")
    rows = [table_row(row, fastest(rates, row["precision"])) for row in result["rows"]]
    return "\n".join([*lines, "", format_table([list(COLUMNS), *rows])])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches, few repetitions: under a minute")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="threads of every measurement on a CPU (default 1)")
    parser.add_argument("--only", metavar="TEXT", help='only rows whose name contains this, such as "stage 2"')
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here too")
    chosen = parser.parse_args(arguments)
    if chosen.threads < 1:
        parser.error(f"--threads must be at least 1, got {chosen.threads}")
    if chosen.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"no CUDA device for --device {chosen.device}: use --device cpu")
    if chosen.only and not any(chosen.only in task for task, _ in groups()):
        parser.error(f"no row contains {chosen.only!r}: choose from {', '.join(dict(groups()))}")
    result = bench(QUICK if chosen.quick else FULL, chosen.threads, chosen.device, chosen.only)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(describe(result))


if __name__ == "__main__":
    main()
