"""The tables of the documentation, made from the result files and from nothing else."""

from collections.abc import Callable
from typing import Any

from benchmarks import scale, sklearn_tables, thin_tables, workers_model
from benchmarks.markdown import load, table, times
from benchmarks.measure import RESULTS


def noise() -> str:
    """Returns the ratios to relu of the same tensor, one row a size, dtype and pass."""
    rows = load("noise")["rows"]
    names = [name for name in rows[0]["microseconds"] if name != "relu"]
    body = [
        [row["elements"], row["dtype"], row["pass"], f"{row['microseconds']['relu']:.0f} µs"]
        + [times(row["microseconds"].get(name), row["microseconds"]["relu"]) for name in names]
        for row in rows
    ]
    return table(["elements", "dtype", "pass", "`relu`", *names], body)


def step() -> str:
    """Returns the ratios of a training step to the step without dropout."""
    rows = load("step")["rows"]
    names = [name for name in rows[0]["milliseconds"] if name != "no dropout"]
    body = [
        [str(row["batch"]), f"{row['milliseconds']['no dropout']:.1f} ms"]
        + [times(row["milliseconds"][name], row["milliseconds"]["no dropout"]) for name in names]
        for row in rows
    ]
    return table(["batch", "no dropout", *names], body)


def attention() -> str:
    """Returns the ratios of attention with dropout, and of a GPT's step, to PyTorch without dropout."""
    rows, floor = load("attention")["rows"], "PyTorch, p = 0"
    names = [name for name in rows[0]["milliseconds"] if name != floor]
    body = []
    for row in rows:
        found, narrow = row["milliseconds"], row.get("milliseconds, AVX2")
        ratios = [times(found.get(name), found[floor]) for name in names]
        body.append([row["name"], f"{found[floor]:.1f} ms", *ratios, times(narrow["thinnet"], narrow[floor]) if narrow else ""])
    return table(["forward + backward", floor, *names, "thinnet, both with AVX2"], body)


def attention_memory() -> str:
    """Returns how far the process grows in forward and backward of attention, in MiB, one row a length."""
    rows = load("attention_memory")["rows"]
    body = [[str(row["length"]), *(f"{value:g}" for value in row["mebibytes"].values())] for row in rows]
    return table(["length", *rows[0]["mebibytes"]], body)


def fused() -> str:
    """Returns the ratios of fused dropout to the same operations without dropout, and to those apart."""
    body = []
    for row in load("fused")["rows"]:
        found = row["milliseconds"]
        floor = found["no dropout"]
        shares = [times(found[name], floor) for name in ("fused", "thinnet, apart", "F.dropout, apart")]
        body.append([row["function"], row["pass"], f"{floor:.2f} ms", *shares, times(found["thinnet, apart"], found["fused"])])
    head = ["function", "pass", "no dropout", "fused", "thinnet, apart", "F.dropout, apart", "apart / fused"]
    return table(head, body)


def memory() -> str:
    """Returns the bytes an element that are kept for backward."""
    (row,) = load("memory")["rows"]
    return table(["kept for backward, bytes an element", *row], [["", *(f"{value:g}" for value in row.values())]])


def recurrent() -> str:
    """Returns the ratios of a recurrent layer's training step to PyTorch's layer, one row a layer and batch size."""
    body = [
        [name, str(row["batch"]), f"{value:.0f} ms", times(value, floor)]
        for row in load("recurrent")["rows"]
        for floor in [next(iter(row["milliseconds"].values()))]
        for name, value in row["milliseconds"].items()
    ]
    return table(["layer", "batch", "forward + backward", "PyTorch's = 1"], body)


def methods() -> str:
    """Returns the time of each method as a ratio to that of `Dropout` on the same tensor, the dearest first."""
    body = []
    for row in sorted(load("methods")["rows"], key=lambda row: -row["forward"]["method"] / row["forward"]["Dropout"]):
        ratios = [times(row[label]["method"], row[label]["Dropout"]) for label in ("forward", "forward + backward")]
        body.append([f"`{row['method']}`", row["shape"], *ratios, times(row["forward"]["Dropout"], row["forward"]["copy"])])
    return table(["method", "shape", "forward", "forward + backward", "`Dropout` beside a copy"], body)


def units() -> str:
    """Returns the time of rates of units and of blocks, composed and in one kernel, as ratios to `Dropout`."""
    body = []
    for row in load("units")["rows"]:
        taken = row["microseconds"]
        ratios = [times(taken[name], taken["Dropout"]) for name in ("composed", "kernel")]
        body.append([f"`{row['method']}`", row["shape"], row["pass"], *ratios])
    return table(["method", "shape", "pass", "composed of operations", "one kernel"], body)


def readme() -> str:
    """Returns five rows that say what thinnet costs: a baseline, PyTorch and thinnet, as multiples of the baseline."""
    body = []
    for size, dtype in (("1 M", "float32"), ("16 M", "bfloat16")):
        label = "forward + backward"
        row = next(r for r in load("noise")["rows"] if (r["elements"], r["dtype"], r["pass"]) == (size, dtype, label))
        body.append(_ratios(f"dropout of {size} {dtype}, {label}", "`torch.relu`", row["microseconds"], "relu", "F.dropout"))
    row = load("step")["rows"][-1]
    body.append(_ratios(f"training step of an MLP, batch {row['batch']}", "no dropout", row["milliseconds"], "no dropout"))
    row = next(r for r in load("thin")["rows"] if r["kind"] == "step" and "batch 2048" in r["network"])
    body.append(_ratios("the same, dropped units skipped", "no dropout", row["milliseconds"], "no dropout", ours="thinned"))
    row = load("gpu")["rows"][-1]
    title = f"dropout of {row['elements']} {row['dtype']}, {row['pass']}, on a GPU"
    body.append(_ratios(title, "a copy", row["microseconds"], "copy", "F.dropout"))
    cpu, gpu = load("noise")["machine"], load("gpu")["machine"]
    machines = f"CPU: {cpu['processor']}, {cpu['threads']} threads, {cpu['path']}. GPU: {gpu['gpu']}."
    return table(["", "baseline", "PyTorch", "thinnet"], body) + f"\n\n{machines}"


def _ratios(
    title: str, floor: str, found: dict[str, float], base: str, theirs: str = "nn.Dropout", ours: str = "thinnet"
) -> list[str]:
    return [title, floor, times(found[theirs], found[base]), f"**{times(found[ours], found[base])}**"]


PRINTED = {10: (1.90, 0.40), 25: (1.35, 0.40), 50: (1.24, 0.33), 100: (1.26, 0.24), 1000: (1.04, 0.23), 10000: (1.00, 0.16)}


def concrete() -> str:
    """Returns what concrete dropout learned on its authors' toy task, beside the numbers that they print."""
    body = []
    for row in load("concrete")["rows"]:
        rates, theirs = row["p of each layer"][1:], row["lr of the rates"] == 0.001
        error = f"{row['rmse']:.2f}" + (f" ({PRINTED[row['N']][0]:.2f})" if theirs else "")
        spread = f"{min(rates):.2f} to {max(rates):.2f}" + (f" ({PRINTED[row['N']][1]:.2f})" if theirs else "")
        doubts = [f"{row[name]:.2f}" for name in ("epistemic sd", "aleatoric sd")]
        body.append([f"{row['lr of the rates']:g}", str(row["N"]), error, spread, *doubts])
    return table(
        ["rate of the logits", "N", "RMSE (printed)", "p, wide layers (printed)", "epistemic sd", "aleatoric sd"], body
    )


def learned_rates() -> str:
    """Returns the test scores of the best fixed rate, of the one chosen on the validation set, and of learned rates."""
    rows, body = load("learned_rates")["rows"], []
    for samples in dict.fromkeys(row["samples"] for row in rows):
        ours = [row for row in rows if row["samples"] == samples]
        fixed = [row for row in ours if row["rates"].startswith("fixed ")]
        best = min(fixed, key=lambda row: row["nll"])
        named = [(f"{best['rates']}, the best on the test set", best), ("fixed 0", fixed[0])]
        named += [(row["rates"], row) for row in ours if row not in fixed]
        for name, row in named:
            score = f"{row['nll']:.3f} ± {row['standard error']:.3f}"
            body.append([str(samples), name, score, f"{row['error']:.1f} %", _span(row["learned"])])
    return table(["samples", "rates", "test NLL, standard error", "test error", "learned rates, one seed"], body)


def _span(learned: Any) -> str:
    """Returns the smallest and the largest learned rate of each layer; the rate of one seed where it was chosen."""
    if not isinstance(learned, list):
        return f"{learned:g}"
    return "; ".join(f"{low:.2f} to {high:.2f}" for low, high in learned)


def gpu() -> str:
    """Returns bandwidth, and ratios to a copy, of dropout on a GPU, one row a size, dtype and pass."""
    rows = load("gpu")["rows"]
    names = [name for name in rows[0]["microseconds"] if name != "copy"]
    body = [
        [row["elements"], row["dtype"], row["pass"], f"{row['microseconds']['copy']:.0f} µs", f"{row['GB/s']:.0f}"]
        + [f"{row['% of copy bandwidth']:.0f} %"]
        + [times(row["microseconds"][name], row["microseconds"]["copy"]) for name in names]
        for row in rows
    ]
    head = ["elements", "dtype", "pass", "copy", "thinnet, GB/s", "of copy bandwidth", *names]
    return table(head, body)


def gpu_steps() -> str:
    """Returns training steps on a GPU as ratios to the step without dropout, and their peak memory."""
    if not (RESULTS / "gpu_steps.json").exists():
        return NOT_YET
    body = []
    for row in load("gpu_steps")["rows"]:
        found, memory = row["milliseconds"], row["peak MiB"]
        floor, ours = found["no dropout"], next(name for name in found if name.startswith("thin"))
        ratios = [times(found[name], floor) for name in ("nn.Dropout", ours)]
        shares = [times(memory[name], memory["no dropout"]) for name in ("nn.Dropout", ours)]
        body.append([row["model"], row["mode"], f"{floor:.2f} ms", *ratios, *shares])
    head = ["model", "mode", "no dropout", "nn.Dropout", "thinnet", "nn.Dropout, peak memory", "thinnet, peak memory"]
    return table(head, body)


NOT_YET = "No result yet: run `make gpu` on a machine with a GPU."


def gpu_attention() -> str:
    """Returns attention on a GPU as ratios to PyTorch's flash attention without dropout."""
    if not (RESULTS / "gpu_attention.json").exists():
        return NOT_YET
    rows = [row for row in load("gpu_attention")["rows"] if "milliseconds" in row]
    floor, *names = rows[0]["milliseconds"]
    body = []
    for row in rows:
        found, name = row["milliseconds"], f"{row['length']}" + (", causal" if row["causal"] else "")
        body.append([name, row["pass"], f"{found[floor]:.2f} ms", *(times(found[each], found[floor]) for each in names)])
    return table(["length", "pass", floor, *names], body)


def gpu_parts() -> str:
    """Returns calls, fused operations, methods and parts of weights on a GPU: the first candidate, and ratios to it."""
    if not (RESULTS / "gpu_parts.json").exists():
        return NOT_YET
    body = []
    for row in load("gpu_parts")["rows"]:
        (first, floor), *others = row["microseconds"].items()
        name = ", ".join(str(value) for key, value in row.items() if key not in ("microseconds", "gradient", "pass"))
        label = row.get("pass", "with gradient" if row.get("gradient") else "forward")
        body.append(
            [name, label, f"{first}: {floor:.1f} µs", ", ".join(f"{each} {times(value, floor)}" for each, value in others)]
        )
    return table(["row", "pass", "floor", "ratios to it"], body)


def inference() -> str:
    """Returns what 50 draws cost in plain passes of the same network, one row a network."""
    rows = load("inference")["rows"]
    names = [name for name in rows[0]["milliseconds"] if "plain" not in name]
    body = []
    for row in rows:
        floor = row["milliseconds"]["50 plain passes"] / 50
        body.append([row["network"], row["first site"], *(times(row["milliseconds"].get(name), floor) for name in names)])
    return table(["50 draws, in plain passes", "first site", *names], body)


def thin_optimisers() -> str:
    """Returns the time of thinned steps, by optimiser."""
    rows = []
    for row in load("thin_optim")["rows"]:
        base, ratios = row["seconds"]["no dropout"], []
        for p in (0.2, 0.5):
            ratios += [times(row["seconds"][f"{module}, p {p}"], base) for module in ("torch.optim", "thinnet.optim")]
        rows.append([str(row["width"]), str(row["batch"]), row["optimiser"], *ratios])
    head = ["width", "batch", "", "p 0.2, torch.optim", "p 0.2, thinnet.optim", "p 0.5, torch.optim", "p 0.5, thinnet.optim"]
    return table(head, rows)


TABLES: dict[str, Callable[[], str]] = {
    "thin_optimisers": thin_optimisers,
    "readme": readme,
    "noise": noise,
    "step": step,
    "attention": attention,
    "fused": fused,
    "attention_memory": attention_memory,
    "memory": memory,
    "recurrent": recurrent,
    "gpu": gpu,
    "gpu_steps": gpu_steps,
    "gpu_attention": gpu_attention,
    "gpu_parts": gpu_parts,
    "methods": methods,
    "units": units,
    "concrete": concrete,
    "learned_rates": learned_rates,
    "inference": inference,
    "scale": scale.points,
    "scale_models": scale.models,
    "workers": workers_model.measured,
    "workers_forecast": workers_model.forecast,
    "sklearn_times": sklearn_tables.fit_times,
    "sklearn_quality": sklearn_tables.quality,
    "sklearn_rivals": sklearn_tables.rivals,
    "thin": thin_tables.thin,
    "thin_short": thin_tables.short,
    "thin_groups": thin_tables.thin_groups,
    "thin_quality": thin_tables.thin_quality,
}
