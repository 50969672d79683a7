"""The panel's words as HTML: status, progress, legend, table of runs, errors."""

from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

from utils.panel.chart import Curve, swatch
from utils.panel.records import Run

# An image of one transparent pixel: that it has loaded is when a script can begin.
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

# Colours come from JupyterLab's theme where there is one and from the page where there is none.
STYLE = """<style>
.course-panel { border: 1px solid var(--jp-border-color2, rgba(128,128,128,.5));
  border-radius: 6px; padding: 10px 14px 12px; margin: 4px 2px; max-width: 1160px;
  overflow: visible; color: var(--jp-ui-font-color1, currentColor); box-sizing: border-box; }
.jp-OutputArea-child:has(.course-trainer) + .jp-OutputArea-child,
.output_area:has(.course-trainer) + .output_area { display: none; }
.course-panel .widget-html, .course-panel .widget-html-content { height: auto; margin: 0;
  min-width: 0; line-height: 1.45; overflow: visible; }
.course-panel .cp-title { font-size: 1.15em; font-weight: 600; margin: 0 0 6px; }
.course-panel .cp-controls { display: grid; overflow: visible; gap: 2px 32px;
  grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); align-items: start; }
.course-panel .cp-control { overflow: visible; min-width: 0; }
.course-panel .widget-inline-hbox .widget-label { text-align: left; }
.course-panel .cp-row > .widget-html { flex: 1 1 280px; }
body[data-jp-theme-light="false"] .course-panel .cp-ink { filter: brightness(1.5); }
.course-panel .cp-help { font-size: .86em; opacity: .8; margin: 0 4px 4px 146px; }
.course-panel .widget-hslider + .widget-html .cp-help { margin-top: -4px; }
.course-panel .widget-checkbox { margin-left: 142px; }
.course-panel .cp-carrier { display: none; }
.course-panel .cp-pad { display: flex; gap: 8px; align-items: flex-start; }
.course-panel .cp-pad-side { flex: 0 0 136px; display: flex; flex-flow: column; gap: 6px;
  align-items: flex-start; }
.course-panel .cp-pad canvas { border: 1px solid var(--jp-border-color1, gray); flex: none; }
.course-panel .cp-pad canvas:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2);
  outline-offset: 2px; }
.course-panel .cp-row { display: flex; flex-flow: row wrap; gap: 4px 10px; overflow: visible;
  align-items: center; margin-top: 6px; }
.course-panel .cp-show { display: flex; flex-flow: row wrap; gap: 8px 20px; overflow: visible;
  align-items: flex-start; margin-top: 8px; }
.course-panel .cp-curves { flex: 3 1 440px; min-width: 0; overflow: visible; }
.course-panel .cp-samples { flex: 1 1 240px; max-width: 340px; overflow: visible; }
.course-panel .cp-field { flex: 0 1 364px; min-width: 0; overflow: visible; }
.course-panel .cp-aside { flex: 1 1 330px; min-width: 0; overflow: visible; }
.course-panel .cp-samples img { image-rendering: pixelated; max-width: 100%; height: auto; }
.course-panel .cp-chart { display: block; width: 100%; max-width: 640px; height: auto;
  font-family: var(--jp-ui-font-family, sans-serif); }
.course-panel .cp-note { font-size: .92em; }
.course-panel .cp-legend { display: flex; flex-flow: row wrap; gap: 0 18px; font-size: .92em;
  padding-left: 10%; }
.course-panel .cp-swatch { vertical-align: middle; margin-right: 5px; }
.course-panel .cp-bar { height: 7px; border-radius: 4px; overflow: hidden; margin: 3px 0 2px;
  background: var(--jp-layout-color3, rgba(128,128,128,.35)); }
.course-panel .cp-bar > div { height: 100%; background: var(--jp-brand-color1, #1976d2); }
.course-panel .cp-numbers { font-variant-numeric: tabular-nums; }
.course-panel .cp-scroll { overflow-x: auto; max-height: 21em; overflow-y: auto; }
.course-panel table.cp-runs { border-collapse: collapse; font-size: .95em; margin: 6px 0 0;
  font-variant-numeric: tabular-nums; width: 100%; color: inherit; }
.course-panel table.cp-runs caption { text-align: left; font-weight: 600; padding: 2px 0; }
.course-panel table.cp-runs th, .course-panel table.cp-runs td { padding: 3px 12px 3px 0;
  text-align: left; vertical-align: top; white-space: normal;
  border-top: 1px solid var(--jp-border-color2, rgba(128,128,128,.35)); background: none; }
.course-panel table.cp-runs .cp-n { text-align: right; }
.course-panel table.cp-runs td.cp-n, .course-panel table.cp-runs td:first-child {
  white-space: nowrap; }
.course-panel table.cp-runs tr.cp-now td:first-child { font-weight: 700; }
.course-panel .cp-axis { max-width: 420px; margin-left: 10%; }
.course-panel .cp-error { border-left: 4px solid var(--jp-error-color1, #d32f2f); margin-top: 8px;
  padding: 4px 10px; background: var(--jp-layout-color2, rgba(128,128,128,.12)); }
.course-panel .cp-error pre { overflow-x: auto; font-size: .88em; white-space: pre;
  background: none; color: inherit; }
.course-panel button:focus-visible, .course-panel select:focus-visible,
.course-panel input:focus-visible, .course-panel summary:focus-visible,
.course-panel .noUi-handle:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2);
  outline-offset: 2px; }
</style>"""

_STATES = {
    "idle": "Ready",
    "running": "Training",
    "paused": "Paused",
    "stopping": "Stopping after this step",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
}


def title(text: str) -> str:
    """The panel's heading, with the style of everything below it, and names for screen readers."""
    script = escape(f"(function () {{ {_names()} }}).call(this)")
    return (
        f'{STYLE}<div class="cp-title" role="heading" aria-level="4">{escape(text)}</div>'
        f'<img alt="" hidden src="{PIXEL}" onload="{script}">'
    )


@cache
def _names() -> str:
    return Path(__file__).with_name("names.js").read_text(encoding="utf-8")


def control_help(text: str) -> str:
    """The line under a control that says what it does."""
    return f'<div class="cp-help">{escape(text)}</div>'


def status(state: str, run: Run | None, note: str = "") -> str:
    """The state in words, announced by screen readers when it changes."""
    text = _STATES[state]
    if run is not None and state != "idle":
        text += f": run {run.number}, {run.label}"
    if state == "running" and not note and not len(run.history if run else ()):
        note = "The first step prepares the framework and may take a few seconds."
    if state == "idle" and not note:
        note = "Settings are read when you press Train."
    return (
        f'<div class="cp-status" role="status" data-state="{state}"><b>{escape(text)}.</b> '
        f"{escape(note)}</div>"
    )


def duration(seconds: float) -> str:
    """A time as a person would say it: ``4.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def progress(state: str, run: Run | None, seconds: float, per_second: float | None) -> str:
    """The progress bar with step, speed and time left.

    Parameters
    ----------
    state, run
        The panel's state and its current run, if any.
    seconds
        Time the run has trained.
    per_second
        Steps a second lately, if known.
    """
    if run is None:
        return ""
    share = min(run.step / run.total, 1.0) if run.total else 0.0
    words = [f"step {run.step:,} of {run.total:,}", duration(seconds)]
    if state in ("running", "paused") and per_second:
        left = max(run.total - run.step, 0) / per_second
        words += [f"{per_second:.3g} steps/s", f"{duration(left)} left"]
    text = " · ".join(words)
    return (
        f'<div class="cp-bar" role="progressbar" aria-label="Training progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share * 100:.0f}" aria-valuetext="{text}">'
        f'<div style="width:{share * 100:.1f}%"></div></div>'
        f'<div class="cp-note cp-numbers">{text}</div>'
    )


def numbers(run: Run | None) -> str:
    """The last report in numbers, and the lowest loss so far."""
    if run is None or run.loss is None or run.lowest is None:
        return ""
    name = escape(run.loss_name)
    parts = [f"{name} <b>{run.loss:.4g}</b> (last)"]
    parts.append(f"<b>{run.lowest[1]:.4g}</b> (lowest, step {run.lowest[0]:,})")
    logs = run.history[-1][1]
    parts += [f"{escape(n)} <b>{v:.4g}</b>" for n, v in logs.items() if n != run.loss_name]
    return f'<div class="cp-note cp-numbers">{" · ".join(parts)}</div>'


def legend(curves: Sequence[Curve]) -> str:
    """Which line is which run; and what a band is, where there is one."""
    entries = [f"<span>{swatch(c)}{escape(_name(c))}</span>" for c in reversed(curves)]
    if any(c.current and c.thinned for c in curves):
        entries.append("<span>line: mean of neighbouring steps; band: their range</span>")
    return f'<div class="cp-legend">{"".join(entries)}</div>' if entries else ""


def _name(curve: Curve) -> str:
    run = curve.run
    changes = f", {run.describe_changes()}" if run.changed else ""
    return f"{run.number} {run.label}{changes}" + " (this run)" * curve.current


def table(runs: Sequence[Run], curves: Sequence[Curve]) -> str:
    """The runs to compare: what was changed and what came of it, the latest first."""
    if not runs:
        return ""
    looks = {curve.run.number: curve for curve in curves}
    names = list(dict.fromkeys(name for run in runs for name in run.results))
    loss = runs[-1].loss_name
    heads = ["Run", "Framework", "Settings", f"Last {loss}", f"Lowest {loss}", *names]
    heads += ["Time", "Status"]
    numeric = {*heads[3:-1]}
    row = "".join(
        f'<th scope="col"{" class=cp-n" if head in numeric else ""}>{escape(head)}</th>'
        for head in heads
    )
    body = "".join(
        _row(run, looks.get(run.number), names, loss, run is runs[-1]) for run in reversed(runs)
    )
    return (
        '<div class="cp-scroll" tabindex="0" role="region" aria-label="Runs to compare">'
        f'<table class="cp-runs"><thead><tr>{row}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(run: Run, curve: Curve | None, names: Sequence[str], loss: str, now: bool) -> str:
    # A run in progress has its numbers above the chart, and fresher ones than a table could hold.
    alike = run.loss_name == loss and run.status != "running"
    found = [run.loss if alike else None, run.lowest[1] if alike and run.lowest else None]
    found += [run.results.get(name) for name in names]
    cells = [
        f"<td>{swatch(curve) if curve else ''}{run.number}</td>",
        f"<td>{escape(run.label)}</td>",
        f"<td>{escape(run.describe_changes())}</td>",
        *(f'<td class="cp-n">{"–" if v is None else f"{v:.4g}"}</td>' for v in found),
        f'<td class="cp-n">{duration(run.seconds) if run.status != "running" else "–"}</td>',
        f"<td>{escape(run.status)}</td>",
    ]
    mark = ' class="cp-now"' if now else ""
    return f'<tr{mark} data-run="{run.number}" data-status="{run.status}">{"".join(cells)}</tr>'


def error(message: str, trace: str = "") -> str:
    """What went wrong, in words; the traceback is folded away for those who want it."""
    if not message:
        return ""
    folded = ""
    if trace:
        folded = f"<details><summary>Traceback</summary><pre>{escape(trace)}</pre></details>"
    return f'<div class="cp-error" role="alert">{escape(message)}{folded}</div>'


def caption(run: Run | None) -> str:
    """Under the samples: which run and step they show."""
    if run is None or run.picture is None:
        return ""
    text = f"Samples: run {run.number}, {run.label}, step {run.picture_step:,}"
    return f'<div class="cp-note">{text}</div>'


def figure_caption(alt: str, drawn: int) -> str:
    """Under an explorer's picture: what it shows, and (for tests) the how many-th it is."""
    return f'<div class="cp-note" data-drawn="{drawn}">{escape(alt)}</div>'
