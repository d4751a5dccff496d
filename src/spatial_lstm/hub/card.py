"""A model card, made of the run's own record: it says what the record says, and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spatial_lstm.hub.figures import Figure, figures, reads_lines
from spatial_lstm.training.published import LIBRARY

# Of the Hub.
TASKS = {True: "image-to-text", False: "unconditional-image-generation"}
TAGS = {True: ["handwriting", "htr", "ocr"], False: ["density-estimation"]}
COMMANDS = {
    True: ("read {} lines/*.png", "test-htr {} --data PATH"),
    False: ("sample {} --out sheet.png", "score {} --data PATH"),
}


def card(
    content: Mapping[str, Any], *, name: str, parameters: int, license: str | None, datasets: Sequence[str]
) -> str:
    """The text of a ``README.md`` with metadata as the Hub reads it. Needs huggingface_hub.

    Args:
        content: What is published.
        name: Of the model.
        parameters: How many it has.
        license: As the Hub calls it; None if none was given.
        datasets: Names of data sets on the Hub, as given.
    """
    found = figures(content)
    metadata = _metadata(content, found, name, license, datasets)
    parts = [
        f"---\n{metadata}\n---\n\n# {name}",
        *_introduction(content, name, parameters),
        "## Data\n\n" + "\n".join(_data(content, datasets)),
        "## Figures\n\n" + "\n".join(_figures(found)),
        "## Training\n\n" + "\n".join(_training(content)),
        f"## License\n\n{license or 'None was stated: ask whoever published this model before using it.'}",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(
    content: Mapping[str, Any], found: Sequence[Figure], name: str, license: str | None, datasets: Sequence[str]
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    reads = reads_lines(content)
    results = [
        EvalResult(
            task_type=TASKS[reads],
            dataset_type=datasets[0] if datasets else _data_name(content),
            dataset_name=_data_name(content),
            dataset_split=figure.part,
            metric_type=figure.metric,
            metric_name=figure.name,
            metric_value=figure.value,
        )
        for figure in found
    ]
    data = ModelCardData(
        library_name=LIBRARY,
        license=license,
        pipeline_tag=TASKS[reads],
        tags=[LIBRARY, "pytorch", "multi-dimensional-lstm", content["model"]["kind"].lower(), *TAGS[reads]],
        datasets=list(datasets) or None,
        metrics=list(dict.fromkeys(figure.metric for figure in found)) or None,
        model_name=name,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _introduction(content: Mapping[str, Any], name: str, parameters: int) -> Iterator[str]:
    reads, kind = reads_lines(content), content["model"]["kind"]
    what = "reads lines of handwriting" if reads else "gives images a likelihood and draws them"
    yield f"A {kind} of {parameters:,} parameters, which {what}. It was made with {LIBRARY} {content.get('version', '')}."
    opened = "reader" if reads else "model, record"
    yield f"```python\nfrom spatial_lstm.hub import load_pretrained\n\n{opened} = load_pretrained({name!r})\n```"
    folder = shlex.quote(name.rpartition("/")[2])
    fetched = [f"hf download {shlex.quote(name)} --local-dir {folder}"] if "/" in name else []
    commands = [f"python -m spatial_lstm {command.format(folder)}" for command in COMMANDS[reads]]
    yield "\n".join(["```bash", *fetched, *commands, "```"])


def _data_name(content: Mapping[str, Any]) -> str:
    """What the run calls its data."""
    given = content.get("notes", {}).get("data")
    told = given if isinstance(given, list) else [given] if given else []
    return content.get("task", {}).get("record", {}).get("name") or ", ".join(map(str, told)) or "not known"


def _data(content: Mapping[str, Any], datasets: Sequence[str]) -> Iterator[str]:
    task = content.get("task", {})
    yield f"The run calls its data {_data_name(content)!r}."
    if datasets:
        yield "On the Hub: " + ", ".join(datasets) + "."
    if reads_lines(content):
        rows = [f"| {part} | {told['lines']:,} | `{told['sha256']}` |" for part, told in task.get("data", {}).items()]
        yield from _table("| part | lines | SHA-256 of texts and widths |", "| --- | ---: | --- |", rows)
        if "language" in content:
            yield "\nThe file `record.json` counts which characters follow which in the texts trained on, for reading with their language."
        return
    record = task.get("record", {})
    told = {part: record[part] for part in ("train", "validation", "test") if part in record}
    rows = [f"| {part} | {images['count']:,} | {images['pixels']:,} |" for part, images in told.items()]
    yield from _table("| part | images | pixels |", "| --- | ---: | ---: |", rows)
    for note in record.get("notes", []):
        yield f"\n{note}"


def _table(head: str, rule: str, rows: Sequence[str]) -> Iterator[str]:
    """A Markdown table, if there is anything in it."""
    if rows:
        yield from ("", head, rule, *rows)


def _figures(found: Sequence[Figure]) -> Iterator[str]:
    if not found:
        yield "The record has none: the run was not finished."
        return
    yield from ("| part | figure | | uncertainty | of | |", "| --- | --- | ---: | --- | --- | --- |")
    for figure in found:
        told = figure.uncertainty or "not known"
        yield f"| {figure.part} | {figure.name} | {figure.value:.4f} | {told} | {figure.of} | {figure.meaning} |"


def _training(content: Mapping[str, Any]) -> Iterator[str]:
    result = content.get("result") or {}
    if "steps" in content:
        yield f"The weights are those after {content['steps']:,} steps."
    if "seconds" in result:
        used = ", ".join(f"{name} {version}" for name, version in result.get("versions", {}).items())
        yield f"The run took {result['steps']:,} steps and {result['seconds']:,.0f} s on {result['device']}, with {used}."
    options = json.dumps(content.get("notes", {}), indent=1, ensure_ascii=False)
    yield f"\nIts options:\n\n```json\n{options}\n```"
