# SPDX-License-Identifier: MIT
"""The application on this machine with the compiled network in it, and what it hears."""

from __future__ import annotations

import hashlib

import numpy as np

from cheep.boards.host import HostApplication, render_headers
from cheep.compiler import compile_bytes
from cheep.export import render_networks

RATE = 8000
MODEL = """/* {digest}: the cache of builds looks at this file, and not at what it includes */
#define CHEEP_BACKEND_COMPILED
{define}
#include "model_compiled.c"
{after}
#include "model_callback.h"

void cheep_callback_model(const cheep_model_facts *found, size_t arena_bytes, cheep_callback_invoke invoke,
                          cheep_callback_forget forget)
{{
    (void)forget;
    (void)found;
    (void)arena_bytes;
    (void)invoke;
}}
"""


def compiled_application(export, folder, define="", change=None, after="", **options):
    compiled = compile_bytes(export.bundle.model.data)
    headers = {**render_headers(export), "model_compiled.c": compiled.source, "model_compiled.h": compiled.header}
    if change:
        headers = change(headers)
    source = folder / "model.c"
    digest = hashlib.sha256(headers["model_compiled.c"].encode()).hexdigest()
    source.write_text(MODEL.format(define=define, after=after, digest=digest))
    return HostApplication(export, headers=headers, model_sources=[source], **options)


def heard(application, pcm, ring_samples):
    """Lines without times of stages; the consumer sleeps twice, so that the ring overflows."""
    application.lines()
    at, lost, lines = 0, 0, []
    for n in np.random.default_rng(3).integers(1, 900, 400):
        block = pcm[at : at + n]
        lost += len(block) - application.push(block)
        at += n
        if not (5.0 < at / RATE < 5.6 or 9.0 < at / RATE < 9.7):
            application.poll()
            lines += application.lines()
    lines += application.finish()
    return [line for line in lines if '"event"' in line], lost


SECOND = """/* {digest} */
#define CHEEP_BACKEND_COMPILED
{define}
#include "verify_compiled.c"
"""


def two_compiled(export, folder, define="", change=lambda name, text: text, **options):
    """The application with both networks of a detector compiled, in one working memory."""
    texts = {name: change(name, text) for name, text in {**render_headers(export), **render_networks(export)}.items()}
    sources = []
    for number, (text, name) in enumerate(((MODEL, "model_compiled.c"), (SECOND, "verify_compiled.c"))):
        source = folder / f"network{number}.c"
        digest = hashlib.sha256(texts[name].encode()).hexdigest()
        source.write_text(text.format(define=define, after="", digest=digest))
        sources.append(source)
    return HostApplication(export, headers=texts, model_sources=sources, **options)
