/* SPDX-License-Identifier: MIT */
// Beside the page: resampling, the application in WebAssembly, and the recording of what it got.
import { Resampler, toInt16 } from "./resample.js";

const KEEP_S = 10;
let core, model, resampler, port;
let paused = false, keepAll = false;
let kept = [], keptSamples = 0;
const counts = { samples: 0, columns: 0, windows: 0, batches: 0, behind: 0, busyMs: 0 };

const text = new TextDecoder();

function lines() {
  const bytes = new Uint8Array(core.memory.buffer, core.cheep_web_lines(), core.cheep_web_line_bytes());
  return text.decode(bytes.slice()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

async function boot() {
  model = await (await fetch("model.json")).json();
  const imports = { env: { now_us: () => performance.now() * 1000 } };
  const bytes = await (await fetch("cheep.wasm")).arrayBuffer();
  core = (await WebAssembly.instantiate(bytes, imports)).instance.exports;
  restart();
}

function restart() {
  const status = core.cheep_web_boot();
  kept = [];
  keptSamples = 0;
  Object.assign(counts, { samples: 0, columns: 0, windows: 0, batches: 0, behind: 0, busyMs: 0 });
  postMessage({ type: "boot", ok: status === 0, lines: lines(), model });
}

function keep(pcm) {
  kept.push(pcm);
  keptSamples += pcm.length;
  while (!keepAll && keptSamples - kept[0].length >= KEEP_S * model.sample_rate_hz) {
    keptSamples -= kept.shift().length;
  }
}

function take(pcm) {
  const began = performance.now();
  const capacity = core.cheep_web_pcm_capacity();
  const classes = model.labels.length;
  const columns = [], scores = [], found = [];
  for (let first = 0; first < pcm.length; first += capacity) {
    const part = pcm.subarray(first, first + capacity);
    new Int16Array(core.memory.buffer, core.cheep_web_pcm(), capacity).set(part);
    core.cheep_web_push(part.length);
    const made = core.cheep_web_column_count() * model.n_mels;
    if (made) columns.push(new Int8Array(core.memory.buffer, core.cheep_web_columns(), made).slice());
    const windows = core.cheep_web_score_count();
    for (let i = 0; i < windows; i++) {
      scores.push(Array.from(new Int8Array(core.memory.buffer, core.cheep_web_scores() + i * classes, classes)));
    }
    if (core.cheep_web_line_bytes()) found.push(...lines());
    counts.columns += made / model.n_mels;
    counts.windows += windows;
  }
  keep(pcm);
  counts.samples += pcm.length;
  counts.batches++;
  let sum = 0, peak = 0;
  for (const value of pcm) {
    sum += value * value;
    peak = Math.max(peak, Math.abs(value));
  }
  counts.busyMs += performance.now() - began;
  const rms = Math.sqrt(sum / Math.max(1, pcm.length));
  const shown = new Uint32Array(core.memory.buffer, core.cheep_web_probabilities(), classes);
  const probabilities = scores.length ? Array.from(shown, (value) => value / 1e6) : null;
  postMessage({ type: "step", columns, scores, probabilities, lines: found, rms, peak, counts: { ...counts } });
}

function wav() {
  const data = new Int16Array(keptSamples);
  let at = 0;
  for (const part of kept) {
    data.set(part, at);
    at += part.length;
  }
  const rate = model.sample_rate_hz;
  const head = new DataView(new ArrayBuffer(44));
  const put = (offset, word) => [...word].forEach((c, i) => head.setUint8(offset + i, c.charCodeAt(0)));
  put(0, "RIFF");
  head.setUint32(4, 36 + data.byteLength, true);
  put(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  put(36, "data");
  head.setUint32(40, data.byteLength, true);
  return new Blob([head, data], { type: "audio/wav" });
}

onmessage = (event) => {
  const message = event.data;
  if (message.type === "boot") {
    boot().catch((error) => postMessage({ type: "failed", reason: String(error) }));
  } else if (message.type === "listen") {
    restart();
    keepAll = message.keepAll;
    resampler = new Resampler(message.rateHz, model.sample_rate_hz);
    port = message.port;
    paused = false;
    port.onmessage = (item) => {
      if (!paused) take(toInt16(resampler.push(item.data.samples)));
    };
  } else if (message.type === "pause") {
    paused = message.paused;
  } else if (message.type === "recording") {
    restart();
    const whole = new Resampler(message.rateHz, model.sample_rate_hz);
    for (let first = 0; first < message.samples.length; first += 48000) {
      take(toInt16(whole.push(message.samples.subarray(first, first + 48000))));
    }
    core.cheep_web_finish();
    postMessage({ type: "step", columns: [], scores: [], lines: lines(), rms: 0, peak: 0, counts: { ...counts } });
    postMessage({ type: "done" });
  } else if (message.type === "finish") {
    if (port) port.onmessage = null;
    core.cheep_web_finish();
    postMessage({ type: "step", columns: [], scores: [], lines: lines(), rms: 0, peak: 0, counts: { ...counts } });
  } else if (message.type === "save") {
    postMessage({ type: "wav", blob: wav() });
  }
};
