# SPDX-License-Identifier: MIT
"""C as text: indentation, and the fixed part that joins a network to the firmware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

#: In a firmware: the only network, or the first or second one of a detector with two (:mod:`cheep.device.verify`).
Role = Literal["alone", "first", "second"]

ADAPTER = """
#ifdef CHEEP_BACKEND_COMPILED /* the firmware's model interface over this network: cheep_model.h */
#include "cheep_model.h"

#if defined(__has_include)
#if __has_include(<generated/model.h>)
#include <generated/model.h>
_Static_assert(CHEEP_MODEL_ID == {model_id}, "this file and model.h are of different models: run cheep compile");
_Static_assert(CHEEP_MODEL_FRAMES * CHEEP_MODEL_MELS == {size_in} && CHEEP_MODEL_CLASSES == {size_out} &&
                   CHEEP_MODEL_STATES == {states},
               "this file and model.h have different shapes: run cheep compile");
#endif
#endif

/* Fed with columns, where the network can be and the build does not want whole windows. */
#if defined({upper}_STREAM) && !defined(CHEEP_WHOLE_WINDOWS)
{stream_memory}
#define CHEEP_WINDOW_MEMORY cheep_model_memory.memory

static void reset_columns(void) {{
    {prefix}_stream_reset(&cheep_model_memory);
}}

static cheep_status push_column(const int8_t *column) {{
    {prefix}_stream_push(&cheep_model_memory, column);
    return CHEEP_OK;
}}

static cheep_status scores_of_columns(int8_t *scores) {{
    return {prefix}_stream_scores(&cheep_model_memory, scores) ? CHEEP_OK : CHEEP_ERROR_ARGUMENT;
}}

const cheep_model_columns *cheep_model_by_columns(void) {{
    static const cheep_model_columns columns = {{
        .stride_frames = {upper}_STREAM_STRIDE,
        .reset = reset_columns,
        .push = push_column,
        .scores = scores_of_columns,
    }};
    return &columns;
}}
#else
{window_memory}
#define CHEEP_WINDOW_MEMORY cheep_model_memory

const cheep_model_columns *cheep_model_by_columns(void) {{
    return NULL;
}}
#endif

{state_memory}void cheep_model_forget(void) {{
{state_reset}}}

cheep_status cheep_model_init(void) {{
    cheep_model_forget();
    return CHEEP_OK; /* what a runtime checks at boot was checked when this file was compiled */
}}

cheep_status cheep_model_invoke(const int8_t *window, int8_t *scores) {{
    {prefix}_invoke(&CHEEP_WINDOW_MEMORY, {arguments});
    return CHEEP_OK;
}}

size_t cheep_model_memory_bytes(void) {{
    return sizeof {all_memory}{state_size};
}}

const char *cheep_model_error(void) {{
    return "";
}}
#endif
"""


def adapter(
    prefix: str, model_id: str, size_in: int, size_out: int, states: Sequence[tuple[int, int]], resets: bool = False,
    shared: bool = False,
) -> str:  # fmt: skip
    """Return the C text behind ``cheep_model.h``.

    ``states`` are (values, zero point) of each state that is an input and an output; ``resets``: the network keeps
    others itself; ``shared``: its working memory is that of a second network, too.
    """
    memory = '#include "verify_memory.h"\n#define cheep_model_memory cheep_shared_memory.first'
    names = [f"cheep_model_state{i}" for i in range(len(states))]
    pairs = list(zip(names, states, strict=True))
    # An output may be the memory of an input: the state is updated in place.
    arguments = ", ".join(["window", *names, "scores", *names])
    return ADAPTER.format(
        prefix=prefix,
        upper=prefix.upper(),
        model_id=model_id,
        stream_memory=memory if shared else f"static {prefix}_stream cheep_model_memory;",
        window_memory=memory if shared else f"static {prefix}_memory cheep_model_memory;",
        all_memory="cheep_shared_memory" if shared else "cheep_model_memory",
        size_in=size_in,
        size_out=size_out,
        states=len(states),
        state_memory="".join(f"static int8_t {name}[{size}];\n" for name, (size, _) in pairs),
        state_reset="".join(f"    memset({name}, {zero}, sizeof {name});\n" for name, (_, zero) in pairs)
        + (f"    {prefix}_reset(&CHEEP_WINDOW_MEMORY);\n" if resets else ""),
        state_size="".join(f" + sizeof {name}" for name in names),
        arguments=arguments,
    )


SECOND = """
#ifdef CHEEP_BACKEND_COMPILED /* the second network of the firmware: cheep_verify.h */
#include "cheep_verify.h"
#include "verify_memory.h"
#include <generated/verify.h>

_Static_assert(CHEEP_VERIFY_MODEL_ID == {model_id},
               "this file and verify.h are of different models: run cheep compile");
_Static_assert(CHEEP_VERIFY_FRAMES * CHEEP_VERIFY_MEL_BANDS == {size_in} && CHEEP_VERIFY_OUTPUTS == {size_out},
               "this file and verify.h have different shapes: run cheep compile");

cheep_shared cheep_shared_memory;

cheep_status cheep_verify_model_init(void) {{
    return CHEEP_OK;
}}

cheep_status cheep_verify_model_invoke(const int8_t *window, int8_t *scores) {{
    {prefix}_invoke(&cheep_shared_memory.second, window, scores);
    return CHEEP_OK;
}}

const char *cheep_verify_model_error(void) {{
    return "";
}}

void *cheep_verify_model_scratch(void) {{
    return cheep_shared_memory.frontend;
}}
#endif
"""


def second_adapter(prefix: str, model_id: str, size_in: int, size_out: int) -> str:
    """Return the C text that makes a network the second one of a detector (``cheep_verify.h``)."""
    return SECOND.format(prefix=prefix, model_id=model_id, size_in=size_in, size_out=size_out)


def indented(lines: list[str]) -> str:
    """Indent C statements by their braces; long ones are wrapped at commas."""
    out, depth = [], 0
    for line in lines:
        closing = line.startswith("}")
        if set(line) == {"}"} and len(line) > 1:
            for _ in line:
                depth -= 1
                out.append("    " * depth + "}")
            continue
        depth -= closing
        out += _wrap("    " * depth, line)
        depth += line.count("{") - line.count("}") + closing
    return "\n".join(out) + "\n"


def _wrap(indent: str, line: str) -> list[str]:
    if len(indent) + len(line) <= 120 or line.startswith(("/*", " *")):
        return [indent + line]
    cut = line.rfind(", ", 0, 119 - len(indent))
    if cut < 0:
        return [indent + line]
    return [
        indent + line[: cut + 1],
        *_wrap(indent if indent.endswith("        ") else indent + "        ", line[cut + 2 :]),
    ]


def loops(letter: str, dims: list[tuple[int, int]]) -> tuple[list[str], str]:
    """Return (heads of nested loops, the offset in them) for (count, step) of each dimension."""
    code, terms = [], []
    for i, (n, step) in enumerate(dims):
        v = f"{letter}{i}"
        code.append(f"for (int {v} = 0; {v} < {n}; ++{v}) {{")
        terms.append(v if step == 1 else f"{step} * {v}")
    return code, " + ".join(terms) or "0"
