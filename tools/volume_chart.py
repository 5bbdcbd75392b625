#!/usr/bin/env python3
"""Draws the first table of docs/benchmarks.md that compares volumes: times as long as a plain folder takes.

Usage: volume_chart.py PAGE CHART.svg [--check]
With --check nothing is written: exit code 1 when the chart is not the table's.
"""
import math
import sys

HEAD = "| target | sequential-write"
PLAIN = "plain folder"
COLOURS = ("#1b5e20", "#2e9d4e", "#8bc34a", "#c0392b", "#8e6bb0", "#d68910")
BAR, GAP, LEFT, WIDTH, TOP = 11, 12, 150, 560, 76
DECADES = 4  # the axis: 0.1 to 1000 times


def table(text):
    """Row names, those of the plain folder, and {target: {row: value}} of the targets that have them all."""
    lines = iter(text.splitlines())
    head = next(line for line in lines if line.startswith(HEAD))
    rows = [cell.strip() for cell in head.strip("|").split("|")][1:]
    next(lines)
    values = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        values[cells[0]] = {row: float(cell) for row, cell in zip(rows, cells[1:]) if cell != "-"}
    plain = values.pop(PLAIN)
    targets = {name: row_values for name, row_values in values.items() if len(row_values) == len(rows)}
    return rows, plain, targets


def times_as_long(row, value, plain):
    return plain / value if row.endswith("MB/s") else value / plain


def position(ratio):
    return LEFT + WIDTH * (math.log10(min(max(ratio, 0.1), 10 ** (DECADES - 1))) + 1) / DECADES


def draw(rows, plain, targets):
    height = TOP + len(rows) * (len(targets) * BAR + GAP) + 8
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 60}" height="{height}" '
           'font-family="sans-serif" font-size="10">',
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="8" y="16" font-size="13">Times as long as a plain folder takes (shorter is better)</text>']
    for index, name in enumerate(targets):
        x, y = 8 + index % 3 * 180, 25 + index // 3 * 14
        out.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{COLOURS[index]}"/>'
                   f'<text x="{x + 14}" y="{y + 9}">{name}</text>')
    for exponent in range(-1, DECADES):
        x = position(10 ** exponent)
        out.append(f'<line x1="{x:.1f}" y1="66" x2="{x:.1f}" y2="{height - 8}" stroke="#ccc"/>'
                   f'<text x="{x:.1f}" y="62" text-anchor="middle">{10 ** exponent:g}</text>')
    y = TOP
    for row in rows:
        out.append(f'<text x="8" y="{y + len(targets) * BAR / 2 + 4:.1f}">{row.rsplit(" ", 1)[0]}</text>')
        for index, values in enumerate(targets.values()):
            ratio = times_as_long(row, values[row], plain[row])
            end = position(ratio)
            out.append(f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR - 2}" '
                       f'fill="{COLOURS[index]}"/><text x="{end + 3:.1f}" y="{y + BAR - 2}">{ratio:.3g}</text>')
            y += BAR
        y += GAP
    return "\n".join(out + ["</svg>", ""])


def main():
    page, chart = sys.argv[1:3]
    with open(page, encoding="utf-8") as file:
        drawn = draw(*table(file.read()))
    if "--check" not in sys.argv:
        with open(chart, "w", encoding="utf-8") as file:
            file.write(drawn)
        return 0
    with open(chart, encoding="utf-8") as file:
        if file.read() == drawn:
            return 0
    print(f"{chart} is not of the table in {page}: python3 tools/volume_chart.py {page} {chart}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
