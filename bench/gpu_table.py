"""What `bench/gpu` has measured, as Markdown: the section "Figures" of docs/gpu.md."""


def markdown(result):
    parts = [conditions(result), agreement(result["agreement"]), steps(result["cells"]), edges(result["cells"])]
    parts += [f"Failed: {name}: {why}" for name, why in result["failed"].items()]
    if result["missing"]:
        parts.append(f"Not measured: {', '.join(result['missing'])}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def conditions(result):
    gpu, torch, pack, machine = (result[key] for key in ("gpu", "torch", "pack", "machine"))
    device = f"{gpu['name']}, {gpu['memory_mib']} MiB, driver {gpu['driver']}" if gpu else "no GPU"
    return (
        f"{device}; {machine['cpu']}, {machine['cores']} cores; PyTorch {torch['version']}, CUDA {torch['cuda']}, "
        f"cuDNN {torch['cudnn']}; ktg {pack['commit']} with tch {pack['tch']}, device `{result['device']}`."
    )


def agreement(found):
    if not found:
        return ""
    verdict = "" if found["largest"] <= found["limit"] else " **They disagree.**"
    return (
        f"Losses of {found['steps']} training steps on the device and by our kernels differ by at most "
        f"{found['largest']:.1e} ({found['where']}; limit: {found['limit']:.0e}).{verdict}"
        + (f" With `--tf32`: {found['tf32']:.1e}." if "tf32" in found else "")
    )


def steps(cells):
    """A row for each case and precision, of the cell in eager mode and of the compiled one."""
    rows = {}
    for cell in cells.values():
        if cell["kind"] != "edges":
            rows.setdefault((cell["case"], cell["precision"]), {})[cell["kind"]] = cell
    if not rows:
        return ""
    header = ["case", "precision", "ktg [ms]", "spread", "PyTorch eager [ms]", "spread", "ratio"]
    lines = []
    for (case, precision), kinds in rows.items():
        eager, compiled = kinds.get("eager"), kinds.get("compiled")
        line = [f"`{case}`", precision, *timed(eager, "ktg"), *timed(eager, eager and eager["best"]), ratio(eager)]
        lines.append([*line, timed(compiled, compiled and compiled["best"])[0], ratio(compiled)])
    return table([*header, "torch.compile [ms]", "ratio"], lines)


def timed(cell, program):
    return (f"{cell['ms'][program]:.4g}", f"{cell['spread'][program]:.0%}") if cell else ("-", "-")


def ratio(cell):
    return f"{cell['ratio']:.2f}" if cell else "-"


def edges(cells):
    """What the edges between networks cost: a step with them and one without."""
    parts = []
    for cell in cells.values():
        if cell["kind"] == "edges":
            rows = [[name, *(f"{value:.4g}" for value in costs)] for name, costs in cell["costs"].items()]
            header = ["all edges [ms]", "label edges only [ms]", "difference [ms]"]
            parts.append(table([f"`{cell['case']}`, {cell['precision']}", *header], rows))
    return "\n\n".join(parts)


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
