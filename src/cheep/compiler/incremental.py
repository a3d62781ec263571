# SPDX-License-Identifier: MIT
"""The incremental mode in C: a network that takes one column at a time and keeps the rows it has computed."""

from __future__ import annotations

from cheep.compiler.pipeline import Pipeline


def declarations(prefix: str, pipe: Pipeline, outs: str) -> list[str]:
    """Return the lines of the header."""
    upper, source, out = prefix.upper(), pipe.source, pipe.stages[-1].out
    lines = [
        "/* Incremental mode: no layer pads in time, so only new columns are computed. After reset and the columns",
        " * of a window, and then after every further multiple of the stride, the scores are those of the last",
        " * window, bit for bit. stream_scores returns 0 while there are too few columns. */",
        f"#define {upper}_STREAM 1",
        f"#define {upper}_STREAM_WINDOW {source.shape[1]} /* columns of a window */",
        f"#define {upper}_STREAM_STRIDE {pipe.row_stride} /* columns: windows may start at its multiples */",
        "typedef struct {",
        f"    {prefix}_memory memory;",
    ]
    if pipe.mean:
        lines += [
            f"    int16_t sums[{out.shape[1]}][{pipe.mean.output.size}]; /* of the last stage's rows */",
            "    int32_t next, count;",
        ]
    return [
        *lines,
        f"}} {prefix}_stream;",
        "",
        f"void {prefix}_stream_reset({prefix}_stream *stream);",
        f"void {prefix}_stream_push({prefix}_stream *stream, const int8_t *column); /* "
        f"{source.shape[2] * source.shape[3]} values */",
        f"int {prefix}_stream_scores({prefix}_stream *stream, {outs});",
        "",
    ]


def functions(prefix: str, pipe: Pipeline, outs: str, names: str, made: str) -> list[str]:
    """Return the C of reset, push and scores.

    ``outs`` are the parameters of the outputs and ``names`` the arguments; ``made`` counts the rows of the result.
    """
    rows = pipe.stages[-1].out.shape[1]
    text = ["", f"void {prefix}_stream_reset({prefix}_stream *stream) {{", f"{prefix}_start(&stream->memory);"]
    if not pipe.mean:
        text += ["}", "", f"void {prefix}_stream_push({prefix}_stream *stream, const int8_t *column) {{"]
        text += [f"{prefix}_row(&stream->memory, column);", "}", ""]
        text += [f"int {prefix}_stream_scores({prefix}_stream *stream, {outs}) {{"]
        text += [f"if (stream->{made.replace('->', '.')} < {rows}) {{", "return 0;", "}"]
        return [*text, f"{prefix}_tail(&stream->memory, {names});", "return 1;", "}"]
    n = pipe.mean.output.size
    value = "stream->sums[y][c]"
    add = f"sums[c] = {value} > sums[c] ? {value} : sums[c];" if pipe.largest else f"sums[c] += {value};"
    first = -128 if pipe.largest else 0
    return [
        *text,
        "stream->next = stream->count = 0;",
        "}",
        "",
        f"void {prefix}_stream_push({prefix}_stream *stream, const int8_t *column) {{",
        f"{prefix}_memory *const memory = &stream->memory;",
        f"{prefix}_row(memory, column);",
        f"if ({made} == 0) {{",
        "return;",
        "}",
        f"{made} = 0; /* one more row of the last stage: keep its sums */",
        f"for (int c = 0; c < {n}; ++c) {{",
        "stream->sums[stream->next][c] = (int16_t)memory->sums[c];",
        f"memory->sums[c] = {first};",
        "}",
        f"stream->next = (stream->next + 1) % {rows};",
        f"stream->count += stream->count < {rows};",
        "}",
        "",
        f"int {prefix}_stream_scores({prefix}_stream *stream, {outs}) {{",
        f"if (stream->count < {rows}) {{",
        "return 0;",
        "}",
        *(
            [f"int32_t sums[{n}];", "memset(sums, 128, sizeof sums);"]
            if pipe.largest
            else [f"int32_t sums[{n}] = {{0}};"]
        ),
        f"for (int y = 0; y < {rows}; ++y) {{",
        f"for (int c = 0; c < {n}; ++c) {{",
        add,
        "}",
        "}",
        f"{prefix}_tail(&stream->memory, sums, {names});",
        "return 1;",
        "}",
    ]


def facts(pipe: Pipeline | None, size: int) -> dict[str, int] | None:
    """Return ``stride_rows`` and ``memory_bytes`` (``size`` is that of a whole window); None where nothing streams."""
    if not pipe or not pipe.streams:
        return None
    extra = 2 * pipe.mean.output.size * pipe.stages[-1].out.shape[1] + 8 if pipe.mean else 0
    return {"stride_rows": pipe.row_stride, "memory_bytes": -(-(size + extra) // 8) * 8}
