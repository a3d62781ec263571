# SPDX-License-Identifier: MIT
"""Listen to the microphone with the detector exactly as the board would run it.

The terminal shows level, mel spectrogram, scores and events: space pauses, r saves the last ten seconds, Ctrl-C ends.
--web serves a page in which C core and compiled model run in the browser. Nothing leaves the machine, but for events
and the input's level with --mqtt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from cheep.commands._mqtt import add_mqtt, mqtt_feed
from cheep.commands._shared import add_model
from cheep.errors import CheepError

SAVED = Path("recordings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_model(parser)
    parser.add_argument("--backend", choices=("tflm", "compiled"), help="same bits (default: tflm; of files: compiled)")
    group = parser.add_argument_group("listening")
    group.add_argument("--list-devices", action="store_true", help="show the inputs and end")
    group.add_argument("--device", help="number or part of the name of the input (default: the system's)")
    group.add_argument("--rate", type=int, metavar="HZ", help="rate to record at (default: the device's own)")
    group.add_argument("--wav", type=Path, metavar="FILE", help="replay a file instead of the microphone")
    group.add_argument("--speed", type=float, default=1.0, help="of --wav: 1 real time, 0 as fast as possible")
    group.add_argument("--seconds", type=float, help="end after so much audio")
    group.add_argument("--record", type=Path, metavar="FOLDER", help="log audio, scores and events")
    group.add_argument("--plain", action="store_true", help="one line per event (default when piped)")
    group.add_argument("--json-lines", action="store_true", help="one JSON object per event, as the board writes")
    group.add_argument("--web", action="store_true", help="serve the browser page")
    group.add_argument("--web-folder", type=Path, metavar="FOLDER", help="only write the page, to host it yourself")
    group.add_argument("--port", type=int, default=8000, help="of --web (%(default)s)")
    add_mqtt(parser)


def run(args: argparse.Namespace) -> int:
    """Listen."""
    if args.list_devices:
        return _list_devices()
    if args.seconds is not None and args.seconds <= 0:
        raise CheepError(f"--seconds {args.seconds:g}: must be above 0")
    if args.web or args.web_folder:
        if args.mqtt:
            raise CheepError("--mqtt: the page in the browser has no broker; leave --web away")
        from cheep.web.serve import serve_page

        return serve_page(args.model, args.web_folder, args.port, print)
    return _listen(args)


def _list_devices() -> int:
    from cheep.live.devices import list_inputs

    devices = list_inputs()
    for item in devices:
        mark = "*" if item.is_default else " "
        print(f"{mark}{item.index:3d}  {item.name}  ({item.host}, {item.channels} ch, {item.default_rate_hz} Hz)")
    if not devices:
        print("no input device: plug in a microphone, or start the sound server", file=sys.stderr)
        return 2
    return 0


def _listen(args: argparse.Namespace) -> int:
    from cheep.device.engine import Engine
    from cheep.live.keys import key_presses
    from cheep.live.recorder import LastSeconds, SessionRecorder
    from cheep.live.session import AudioSource, Observer, Session
    from cheep.live.sources import FileSource, MicrophoneSource
    from cheep.live.view import EngineView, PlainView, TerminalView

    engine = Engine(args.model, backend=args.backend or "tflm")
    bundle = engine.bundle
    rate = bundle.features.sample_rate_hz
    source: AudioSource
    if args.wav:
        source = FileSource(args.wav, rate, args.speed)
    else:
        source = microphone = MicrophoneSource(rate, args.device, args.rate)
        microphone.open()
    last = LastSeconds(engine)
    observers: list[Observer] = [_Feed(last.add)]
    recorder = SessionRecorder(args.record, engine, {"device": source.name}) if args.record else None
    if recorder:
        observers.append(_Feed(recorder.add))
    plain = args.plain or args.json_lines or not sys.stdout.isatty()
    title = f"{source.name}, {source.device_rate_hz} Hz -> {bundle.path.name}, {rate} Hz"
    if args.json_lines:
        observers.append(_JsonLines())

    def on_key(key: str) -> str | None:
        return f"saved {last.save(SAVED)}" if key == "r" else None

    plain_view = PlainView(lambda line: args.json_lines or print(line, flush=True))
    with contextlib.ExitStack() as stack:
        feed = stack.enter_context(mqtt_feed(args, "computer", _say, bundle.model.sha256[:8]))
        if feed:
            observers.append(_ToBroker(feed))
        keys = stack.enter_context(key_presses())
        if plain:
            print(title, file=sys.stderr)
            view: PlainView | TerminalView = plain_view
        else:
            thresholds = bundle.detector.threshold
            thresholds = thresholds * len(bundle.labels) if len(thresholds) == 1 else thresholds
            view = stack.enter_context(TerminalView(title, bundle.labels, bundle.features.n_mels, thresholds))
        observers.append(EngineView(view, engine))
        session = Session(engine, source, observers, keys, on_key, args.seconds)
        try:
            with contextlib.suppress(KeyboardInterrupt):  # the ordinary way to end
                session.run()
        finally:
            if recorder:
                recorder.close(session.summary())
    _print_summary(session.summary(), recorder.folder if recorder else None, args.model or bundle.path.parent)
    return 0


def _say(text: str) -> None:
    print(f"cheep listen: {text}", file=sys.stderr)


class _Feed:
    def __init__(self, add):
        self._add = add

    def step(self, pcm, result, status) -> None:
        self._add(pcm, result)


class _JsonLines:
    def step(self, pcm, result, status) -> None:
        for event in result.events:
            print(json.dumps({"type": "event", **event.to_dict()}), flush=True)


class _ToBroker:
    SILENT_S = 3.0  # as on a board

    def __init__(self, feed):
        self._feed = feed

    def step(self, pcm, result, status) -> None:
        for event in result.events:
            self._feed.event(event.label, event.ended, event.start_s, event.end_s, event.score, event.logit)
        self._feed.level(status.level_db)
        self._feed.microphone("silent" if status.silent_s >= self.SILENT_S else "heard")


def _print_summary(summary: dict, folder: Path | None, model: str | Path) -> None:
    events = ", ".join(f"{count} {label}" for label, count in summary["events"].items()) or "no events"
    pace = f"{summary['times_real_time']:.3g} times real time"
    if summary["latency_median_ms"] is not None:
        pace = f"latency {summary['latency_median_ms']:.0f} ms (worst {summary['latency_worst_ms']:.0f} ms)"
    print(
        f"{summary['audio_s']:.1f} s of audio, {summary['windows']} windows: {events}; {pace}, "
        f"{summary['dropped_blocks']} blocks dropped, {summary['cpu_percent']:.0f} % of a core",
        file=sys.stderr,
    )
    if folder:
        again = f"cheep test {folder / 'audio.wav'} --model {model}"  # the latest run may be another one tomorrow
        print(f"recorded in {folder} (evaluate again: {again})", file=sys.stderr)
