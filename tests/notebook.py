#!/usr/bin/env python3
"""Runs the code cells of a notebook in order, in one namespace, as a fresh kernel would; any error fails.

  notebook.py NOTEBOOK RESULT_DIRECTORY

Keeps to what every Python has, so that no notebook server need be installed. Checks besides that the notebook is
stored without outputs, says what it read, and drew at least one figure.
"""
import ast
import json
import os
import sys


def run_cell(source, namespace, label):
    """Runs one cell and shows the value of its last line, as a notebook does."""
    tree = ast.parse(source, label)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, label, "exec"), namespace)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), label, "eval"), namespace)
        if value is not None:
            print(value)


def main():
    path, result = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with open(path, encoding="utf-8") as file:
        notebook = json.load(file)
    if notebook["nbformat"] != 4 or notebook["nbformat_minor"] < 5:
        sys.exit(f"{path}: not a notebook of format 4.5 or later")
    ids = [cell["id"] for cell in notebook["cells"]]
    if len(ids) != len(set(ids)):
        sys.exit(f"{path}: two cells have the same id")
    os.environ["HIGHWATER_RESULT"] = result
    os.environ["MPLBACKEND"] = "Agg"
    os.chdir(os.path.dirname(path))
    import matplotlib.pyplot

    figures = []
    matplotlib.pyplot.show = lambda *_, **__: figures.extend(matplotlib.pyplot.get_fignums())
    namespace = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        if cell["outputs"] or cell["execution_count"] is not None:
            sys.exit(f"{path}: code cell {number} is stored with its outputs; clear them")
        run_cell("".join(cell["source"]), namespace, f"code cell {number}")
    axes = [axis for figure in figures for axis in matplotlib.pyplot.figure(figure).axes]
    if not any(axis.has_data() for axis in axes):
        sys.exit(f"{path}: no figure with data was drawn")
    if picture := os.environ.get("NOTEBOOK_PICTURE"):
        matplotlib.pyplot.figure(figures[-1]).savefig(picture, dpi=110)
    print(f"{os.path.basename(path)}: {len(code)} code cells ran, {len(figures)} figure(s) drawn")


if __name__ == "__main__":
    main()
