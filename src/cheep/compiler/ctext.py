"""C as text: indentation, and the fixed part that joins a network to the firmware."""

from __future__ import annotations

ADAPTER = """
#ifdef CHEEP_BACKEND_COMPILED /* the firmware's model interface over this network: cheep_model.h */
#include "cheep_model.h"

#if defined(__has_include)
#if __has_include(<generated/model.h>)
#include <generated/model.h>
_Static_assert(CHEEP_MODEL_ID == {model_id}, "this file and model.h are of different models: run cheep compile");
_Static_assert(CHEEP_MODEL_FRAMES * CHEEP_MODEL_MELS == {size_in} && CHEEP_MODEL_CLASSES == {size_out},
               "this file and model.h have different shapes: run cheep compile");
#endif
#endif

static {prefix}_memory cheep_model_memory;

cheep_status cheep_model_init(void) {{
    return CHEEP_OK; /* what a runtime checks at boot was checked when this file was compiled */
}}

cheep_status cheep_model_invoke(const int8_t *window, int8_t *scores) {{
    {prefix}_invoke(&cheep_model_memory, window, scores);
    return CHEEP_OK;
}}

size_t cheep_model_memory_bytes(void) {{
    return sizeof cheep_model_memory;
}}

const char *cheep_model_error(void) {{
    return "";
}}
#endif
"""


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
