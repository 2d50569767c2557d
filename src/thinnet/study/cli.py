"""`thinnet study`: its arguments."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from thinnet.arguments import Elsewhere, LogName, TaskName, exit_codes, value
from thinnet.report.machine import cores
from thinnet.study.design.configuration import ALL, CONSTANT, DROPOUT, RIVALS, SCHEDULES
from thinnet.study.design.problems import PROBLEMS, path_of
from thinnet.study.options import rank_and_ranks


def study(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="A table (.csv, .tsv, .parquet, .npz); a folder of pictures or texts by class; MNIST or CIFAR files; a text "
            f"(.txt); a .py file with model() and data(); or one of {', '.join(PROBLEMS)}. Default: digits.",
        ),
    ] = None,
    target: Annotated[str | None, value("NAME", "The column to predict, or the array in an .npz file.")] = None,
    column: Annotated[
        list[str] | None,
        value("NAME=KIND", "Read a column as number, date or category, or skip it: 'zip=category'. Repeatable."),
    ] = None,
    task: Annotated[TaskName | None, typer.Option(help="The task. Default: inferred from the target.")] = None,
    weights: Annotated[
        Path | None, value("FOLDER", "For texts by class and finetune: fine-tune the transformer that is saved in a folder.")
    ] = None,
    rates: Annotated[
        str | None,
        value("P,P,...", "Rates to compare, in [0, 1); 0 is always added. Default: 0.1 to 0.9, or those of the problem."),
    ] = None,
    seeds: Annotated[
        int | None,
        value("N", "Trials per rate; an answer needs 8. To add some later, run again with more. Default: 8, or 16 for toy."),
    ] = None,
    budget: Annotated[
        str | None,
        value("TIME", "Take about this time, such as 90s, 2m or 1h; with fewer epochs or rows where it is short."),
    ] = None,
    out: Annotated[
        Path | None, value("FOLDER", "Output folder: report, trials and weights. Default: report, or NAME-report with a FILE.")
    ] = None,
    jobs: Annotated[int | None, value("N", "Parallel processes. They do not change any number. Default: all cores.")] = None,
    seed: Annotated[int, value("N", "Seed of the split and of all initial weights, batches and masks.")] = 0,
    epochs: Annotated[int | None, value("N", "Epochs, the same for every rate. Default: 100, or those of the problem.")] = None,
    rows: Annotated[
        int | None, value("N", "Use so many samples for training and validation. Default: all, or what --budget allows.")
    ] = None,
    hidden: Annotated[str, value("N,N,...", "Widths of the hidden layers, separated by commas.")] = "128,128",
    batch: Annotated[int | None, value("N", "Batch size. Default: 64, or that of the problem.")] = None,
    learning_rate: Annotated[float | None, value("X", "Learning rate of Adam. Default: 0.001, or that of the problem.")] = None,
    device: Annotated[str, value("NAME", "Device: cpu, cuda, mps or auto.")] = "cpu",
    precision: Annotated[str, value("NAME", "Precision, such as 32-true or bf16-mixed.")] = "32-true",
    methods: Annotated[
        str,
        value(
            "NAMES",
            "Methods to train at every rate: dropout, thin, auto, or one of `thinnet methods` that stands at a site.",
        ),
    ] = DROPOUT,
    places: Annotated[
        str, value("NAMES", "Where to drop: all, auto, or patterns of dropout sites joined by +: 'all,hidden1,input+all'.")
    ] = ALL,
    schedules: Annotated[str, value("NAMES", f"Schedules of the rate, among {', '.join(SCHEDULES)}.")] = CONSTANT,
    against: Annotated[str, value("NAMES", f"What to compare dropout with: {', '.join(RIVALS)}.")] = "",
    full: Annotated[
        bool,
        typer.Option("--full", help="Train every configuration on all seeds. Default: of more than 6, drop the worse early."),
    ] = False,
    groups: Annotated[
        int, value("N", "Only for thin: the number of groups in a batch. The samples of a group share a mask.")
    ] = 1,
    log: Annotated[LogName | None, typer.Option(help="Write the curves of every trial for TensorBoard, into --out.")] = None,
    storage: Annotated[
        str | None, value("URL", "A database for workers on other machines: postgresql://USER@HOST/NAME or sqlite:///FILE.")
    ] = None,
    on: Annotated[
        Elsewhere | None, typer.Option(help="With --storage: start the --jobs workers as Ray tasks or Slurm jobs.")
    ] = None,
    address: Annotated[str | None, value("HOST:PORT", "The cluster of Ray. Default: this machine.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train the failed trials of this study again. Default: they stay failed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the result, as JSON, on stdout.")] = False,
) -> None:
    """Measure whether dropout helps on your data, at which rate, and how certain that is.

    It trains the same network in every configuration (method, place, rate, schedule) over several seeds, and chooses one on
    the validation sets. Then it compares that one with no dropout on the test set. For each seed, all configurations share
    the split into training and validation, initial weights, batches and random bits.
    To resume an interrupted study, run the same command again. Once the cause of failed trials is mended, such as too little
    memory, add `--retry-failed`.

    Example: `thinnet study patients.csv --target outcome --budget 10m --out outcome-report`

    See how dropout works on a toy function: `thinnet study toy`

    Study your own model: `thinnet study my.py`, where my.py defines `model()` and `data()`.

    Compare places, and rivals: `thinnet study --rates 0.2,0.5 --places all,input --against weight_decay --out rivals-report`

    Compare what the catalogue advises for your network: `thinnet study my.py --methods auto --places auto`

    Use several machines: add `--storage postgresql://me@host/studies`, and run `thinnet study work` on the others.
    `thinnet study status` shows what is done.

    Spread each training over several GPUs or machines: `torchrun --nproc-per-node 2 -m thinnet study my.py`

    Exit codes: 0 done, 2 bad input or a full disk (nothing is lost), 130 stopped by Ctrl-C.
    """
    with exit_codes():
        rank, ranks = rank_and_ranks()
        if rank:
            from thinnet.study.training.trial import follow

            return follow()
        from thinnet.study.request import requested

        request = requested(
            path_of(file) if file else None,
            target=target,
            columns=column or (),
            task=task and task.value,
            weights=weights,
            seeds=seeds,
            budget=budget,
            jobs=(cores() if ranks == 1 else 1) if jobs is None else jobs,
            out=out,
            command=shlex.join(["thinnet", *sys.argv[1:]]),
            given={"rates": rates, "epochs": epochs, "batch": batch, "learning_rate": learning_rate},
            hidden=hidden,
            seed=seed,
            device=device,
            precision=precision,
            methods=methods,
            places=places,
            schedules=schedules,
            against=against,
            full=full,
            rows=rows,
            groups=groups,
            log=log and log.value,
            storage=storage,
            on=on and on.value,
            address=address,
            retry_failed=retry_failed,
        )
        from thinnet.study.command import run_study  # after the checks, as it imports PyTorch
        from thinnet.study.disk import disk_errors

        with disk_errors(request.out):
            raise typer.Exit(run_study(request, as_json))
