"""The chart of the results as SVG, without any library: bars of time for each network, one scale per network, best first.

Colours and greys are in the middle of the range, so that the picture reads on white and on dark pages; the ground is clear.
"""

WIDTH, BAR, GAP, LEFT, RIGHT = 900, 15, 5, 270, 130
COLOURS = {"lookout": "#d9480f", "LiteRT": "#2b8a8a", "OpenVINO": "#4c6ef5", "ONNX": "#7b61c9", "ncnn": "#a0803a", "stock": "#868e96"}
# A slower row would make the others invisible: its bar is cut, its number says so.
CUT = 4.0


def draw(result):
    """SVG text of the whole chart; int8 rows and tract's, all others are in the table."""
    body, y = [], 18
    for name, net in result["nets"].items():
        rows = [(t, v["median"]) for t, v in net["times"].items() if "median" in v and ("f32" not in t or t.startswith("stock"))]
        rows.sort(key=lambda row: row[1])
        end = net["best"] * CUT
        scale = (WIDTH - LEFT - RIGHT) / end
        body.append(text(8, y + 4, f"{name.replace('_', ' ')}", 14, "#7d8590", bold=True))
        y += 16
        top = y
        for title, ms in rows:
            long = min(ms, end) * scale
            colour = COLOURS[title.split()[0]]
            body.append(text(LEFT - 8, y + BAR - 3, title, 12, colour if title.startswith("lookout") else "#7d8590", "end"))
            body.append(f'<rect x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
            if ms > end:
                # Two clear strokes through a bar that goes on.
                for x in (10, 16):
                    body.append(f'<path d="M{LEFT + long - x - 3:.1f} {y + BAR + 2}l6 -{BAR + 4}" stroke="#b0b7c0" stroke-width="2"/>')
            body.append(text(LEFT + long + 6, y + BAR - 3, f"{number(ms)} ms ({ms / net['best']:.2f})", 12, "#7d8590"))
            y += BAR + GAP
        x = LEFT + net["best"] * scale
        body.append(f'<path d="M{x:.1f} {top - 3}V{y}" stroke="#7d8590" stroke-dasharray="3 3" fill="none"/>')
        y += 20
    note = f"one core, processor time; in brackets and dashed: the best int8 peer with the same instructions = 1; {result['date']}"
    body.append(text(8, y, note, 12, "#7d8590"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" width="{WIDTH}" height="{y + 12}"'
    return f'{head} font-family="system-ui, sans-serif">\n' + "\n".join(body) + "\n</svg>\n"


def text(x, y, words, size, colour, anchor="start", bold=False):
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{words}</text>'


def number(ms):
    return f"{ms:.3f}" if ms < 10 else f"{ms:.1f}"
