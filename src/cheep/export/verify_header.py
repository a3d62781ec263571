# SPDX-License-Identifier: MIT
"""The second network of a detector that has one (``verify.h``, ``verify_filter_bank.h``), and both networks as C."""

from __future__ import annotations

from cheep.compiler import DEFAULT_PREFIX, VERIFY_PREFIX, compile_bytes
from cheep.detector import logit
from cheep.device.verify import NEVER_ASKS, ask_units, behind_samples, mean_terms, output_of
from cheep.errors import CheepError
from cheep.export.bundle import ExportModel
from cheep.export.ctext import comment, float32, guard, mark, string, table
from cheep.export.golden_header import golden_lines
from cheep.export.mel_header import render_mel_filter_bank
from cheep.export.selfcheck import frontend_crc
from cheep.features import inverse_scale

TOOL = "model_convert.py"

#: What an export of a detector with one network removes.
VERIFY_FILES = ("verify.h", "verify_filter_bank.h", f"{VERIFY_PREFIX}.c", f"{VERIFY_PREFIX}.h", "verify_memory.h")


def refuse_second(export: ExportModel, what: str) -> None:
    """Raise :class:`CheepError` where a detector has a second network, and ``what`` takes one alone."""
    if export.verifier is not None:
        raise CheepError(
            f"{export.bundle.path}: has a second network (detector.verify), and {what} takes one network; calibrate "
            "without (cheep calibrate, without --verify), or build the firmware's own project"
        )


def render_verify(export: ExportModel) -> dict[str, str]:
    """Return the headers of the second network by file name; none where the detector has no second network."""
    second = export.verifier
    if second is None:
        return {}
    bank = render_mel_filter_bank(second.features, second.sha256, "verify_filter_bank.h", "CHEEP_VERIFY_MEL")
    return {"verify.h": _verify_header(export, second), "verify_filter_bank.h": bank}


def _verify_header(export: ExportModel, second: ExportModel) -> str:
    config = export.detector.verify
    assert config is not None
    bundle, source = second.bundle, second.bundle.input
    first, other, offset = mean_terms(export.bundle)
    columns, int8 = frontend_crc(second.features, source.scale, source.zero_point)
    notes = [
        f"/*   {comment(label)}: {'never' if p is None else f'probability {p:.9g} (logit {logit(p):.4g})'} */"
        for label, p in zip(export.bundle.labels, config.ask, strict=True)
    ]
    asks = ["CHEEP_VERIFY_NEVER" if unit == NEVER_ASKS else str(unit) for unit in ask_units(export.bundle).tolist()]
    lines = [
        f"#define CHEEP_VERIFY_FOR_MODEL_ID 0x{export.model_id:08x}u",
        f"#define CHEEP_VERIFY_MODEL_ID 0x{second.model_id:08x}u",
        f'#define CHEEP_VERIFY_MODEL_ID_TEXT "{second.model_id:08x}"',
        f"#define CHEEP_VERIFY_SHA256 {string(second.sha256)}",
        f"#define CHEEP_VERIFY_FEATURE_HASH 0x{second.features.hash32:08x}u",
        f"#define CHEEP_VERIFY_FRAMES {second.features.window_frames}",
        f"#define CHEEP_VERIFY_OUTPUTS {len(bundle.labels)}",
        f"#define CHEEP_VERIFY_INPUT_INVERSE_SCALE {float32(inverse_scale(source.scale))}",
        f"#define CHEEP_VERIFY_INPUT_ZERO_POINT {source.zero_point}",
        "",
        "/* It hears the middle of a window of the first network: so many samples lie behind. */",
        f"#define CHEEP_VERIFY_BEHIND_SAMPLES {behind_samples(export.bundle)}u",
        f"#define CHEEP_VERIFY_FIRST_SCORES CHEEP_SCORES_{export.bundle.own_scale.kind.upper()}",
        "",
        "/* A window is asked about where the first network gives a class at least so many units: */",
        *notes,
        table("CHEEP_VERIFY_ASK", asks),
        "/* The output of the second network for each class of the first; the scores of a window nobody asks about. */",
        table("CHEEP_VERIFY_OUTPUT_OF", map(str, output_of(export.bundle))),
        table("CHEEP_VERIFY_IDLE", map(str, config.idle)),
        f"/* The mean of both: the first network has the weight {config.weight:g} (cheep_verify_mean). */",
        f"#define CHEEP_VERIFY_FIRST_WEIGHT {first}",
        f"#define CHEEP_VERIFY_SECOND_WEIGHT {other}",
        f"#define CHEEP_VERIFY_OFFSET ({offset})",
        f"#define CHEEP_VERIFY_MEAN_SCALE {float32(export.bundle.scale.scale)}",
        f"#define CHEEP_VERIFY_MEAN_ZERO_POINT {export.bundle.scale.zero_point}",
        "",
        "/* As in golden_window.h. */",
        f"#define CHEEP_VERIFY_COLUMNS_CRC 0x{columns:08x}u",
        f"#define CHEEP_VERIFY_FRONTEND_CRC 0x{int8:08x}u",
        *golden_lines(second.features, second.golden, "CHEEP_VERIFY_GOLDEN"),
    ]
    return guard("verify.h", lines, mark(TOOL, second.sha256, second.features.hash32))


_MEMORY = """#include <generated/verify_filter_bank.h>

#include "{first}.h"
#include "{second}.h"

/* The two networks, and the front end of the second, do not run at the same time. */
typedef union {{
#if defined({upper}_STREAM) && !defined(CHEEP_WHOLE_WINDOWS)
    {first}_stream first;
#else
    {first}_memory first;
#endif
    {second}_memory second;
    uint64_t frontend[(CHEEP_VERIFY_MEL_FRONTEND_BYTES + 7u) / 8u];
}} cheep_shared;

extern cheep_shared cheep_shared_memory;
"""


def render_networks(export: ExportModel) -> dict[str, str]:
    """Return the network as C by file name; where the detector has a second one, both, in one working memory.

    Raises
    ------
    CheepError
        The compiler refuses a network.
    """
    name, second = str(export.bundle.path), export.verifier
    first = compile_bytes(export.bundle.model.data, name=name, role="alone" if second is None else "first")
    files = {f"{DEFAULT_PREFIX}.c": first.source, f"{DEFAULT_PREFIX}.h": first.header}
    if second is None:
        return files
    other = compile_bytes(second.bundle.model.data, VERIFY_PREFIX, str(second.bundle.path), role="second")
    memory = _MEMORY.format(first=DEFAULT_PREFIX, second=VERIFY_PREFIX, upper=DEFAULT_PREFIX.upper())
    first_line = mark(TOOL, second.sha256, second.features.hash32)
    return files | {
        f"{VERIFY_PREFIX}.c": other.source,
        f"{VERIFY_PREFIX}.h": other.header,
        "verify_memory.h": guard("verify_memory.h", memory.splitlines(), first_line),
    }
