/* SPDX-License-Identifier: MIT */
// The page: microphone or file -> worker -> pictures and events.
import { Scores, Spectrogram, decibels, drawLevel, probabilityText } from "./draw.js";

const $ = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
const keepAll = new URLSearchParams(location.search).has("keep-all"); // keep the whole session, for checks
// What the page has seen, for whoever looks from outside (tests, the console).
const seen = { boot: null, lines: [], scores: [], columns: 0, drawn: 0, counts: {}, state: "loading", message: "" };
window.cheep = { seen, save: () => askForWav(), columnHash: 0 };

let model, spectrogram, scores, audio, stream;
let latest = null, paused = false, wavWanted = null;

function say(message) {
  seen.message = message;
  $("message").textContent = message;
  $("message").hidden = !message;
}

function fail(message) {
  seen.state = "failed";
  say(message);
  $("start").textContent = "Listen";
  $("start").disabled = !model;
}

worker.onmessage = (event) => {
  const message = event.data;
  if (message.type === "boot") onBoot(message);
  else if (message.type === "step") onStep(message);
  else if (message.type === "done") seen.state = "done";
  else if (message.type === "wav" && wavWanted) wavWanted(message.blob);
  else if (message.type === "failed") fail(`The model could not be loaded (${message.reason}). Build the page again.`);
};
worker.onerror = (event) => fail(`The page's worker failed: ${event.message}`);

function onBoot(message) {
  model = message.model;
  seen.boot = message.lines[0];
  seen.lines = [];
  seen.scores = [];
  window.cheep.columnHash = 0;
  if (!message.ok) {
    fail(`Self-check failed at stage ${seen.boot.stage}: ${seen.boot.reason}`);
    return;
  }
  if (spectrogram) {
    $("events").replaceChildren();
    return;
  }
  $("about").textContent = `${model.name} (${model.sha256.slice(0, 12)}), ${model.labels.length} sounds, ` +
    `${model.sample_rate_hz} Hz, self-check passed`;
  $("fmax").textContent = `${(model.fmax_hz / 1000).toFixed(1)} kHz`;
  $("fmin").textContent = `${(model.fmin_hz / 1000).toFixed(1)} kHz`;
  spectrogram = new Spectrogram($("spectrogram"), model.n_mels);
  scores = new Scores($("scores"), model.labels, model.thresholds);
  for (const id of ["start", "file"]) $(id).disabled = false;
  seen.state = "ready";
  requestAnimationFrame(draw);
}

function onStep(step) {
  latest = step;
  seen.counts = step.counts;
  for (const columns of step.columns) {
    seen.columns += columns.length / model.n_mels;
    for (const value of columns) window.cheep.columnHash = (Math.imul(window.cheep.columnHash, 31) + value) | 0;
    spectrogram.push(columns);
  }
  if (keepAll) seen.scores.push(...step.scores);
  for (const line of step.lines) {
    seen.lines.push(line);
    if (line.type === "event") showEvent(line);
  }
}

function showEvent(event) {
  const body = $("events");
  body.querySelector(".none")?.remove();
  let row = [...body.children].find((item) => item.classList.contains("running") && item.dataset.label === event.label);
  if (!row || event.state === "start") {
    row = document.createElement("tr");
    row.dataset.label = event.label;
    for (let i = 0; i < 5; i++) row.appendChild(document.createElement("td"));
    row.children[0].textContent = new Date().toLocaleTimeString();
    body.prepend(row);
    while (body.children.length > 200) body.lastChild.remove();
  }
  const ended = event.state === "end";
  row.classList.toggle("running", !ended);
  row.children[1].textContent = event.label;
  row.children[2].textContent = `${event.start_s.toFixed(2)} s`;
  row.children[3].textContent = ended ? `${event.end_s.toFixed(2)} s` : "…";
  row.children[4].textContent = probabilityText(event.score);
}

function draw() {
  requestAnimationFrame(draw);
  if (!latest) return;
  spectrogram.resize();
  spectrogram.draw();
  seen.drawn = spectrogram.drawn;
  drawLevel($("level"), latest.rms, latest.peak);
  $("level-text").textContent = `${decibels(latest.rms).toFixed(0)} dBFS, peak ${decibels(latest.peak).toFixed(0)}`;
  if (latest.probabilities) scores.draw(latest.probabilities);
  const { samples, columns, busyMs } = latest.counts;
  const seconds = samples / model.sample_rate_hz;
  if (seconds > 0) {
    $("figures").textContent = `${seconds.toFixed(1)} s heard, ${columns} columns, ${latest.counts.windows} runs of the ` +
      `network, ${((busyMs / seconds) / 10).toFixed(2)} % of a core for the detector`;
  }
}

const HELP = {
  NotAllowedError: "The microphone is blocked for this page. Allow it with the symbol beside the address " +
    "(and in the system's privacy settings), then press Listen again.",
  NotFoundError: "No microphone was found. Plug one in and press Listen again, or open a recording.",
  NotReadableError: "The microphone is used by another program or failed. Close that program and press Listen again.",
  OverconstrainedError: "The microphone does not offer what is needed. Choose another one in the browser's settings.",
};

async function listen() {
  say("");
  if (!navigator.mediaDevices?.getUserMedia) {
    fail("Browsers give the microphone only to pages from localhost or https. Open the page that way.");
    return;
  }
  $("start").disabled = true;
  try {
    // The processing of calls would change what the detector hears.
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    audio = new AudioContext();
    await audio.audioWorklet.addModule("capture.js");
    const node = new AudioWorkletNode(audio, "cheep-capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    const channel = new MessageChannel();
    worker.postMessage({ type: "listen", rateHz: audio.sampleRate, port: channel.port2, keepAll }, [channel.port2]);
    node.port.postMessage(channel.port1, [channel.port1]);
    audio.createMediaStreamSource(stream).connect(node);
    await audio.resume();
    stream.getAudioTracks()[0].onended = () => {
      stop();
      fail("The microphone went away. Plug it in and press Listen again.");
    };
    seen.state = "listening";
    $("start").textContent = "Stop";
    for (const id of ["start", "pause", "save"]) $(id).disabled = false;
  } catch (error) {
    stop();
    fail(HELP[error.name] ?? `The microphone cannot be opened: ${error.message}`);
  }
}

function stop() {
  stream?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
  audio?.close();
  stream = audio = null;
  worker.postMessage({ type: "finish" });
  $("start").textContent = "Listen";
  $("pause").disabled = true;
  seen.state = "stopped";
}

function askForWav() {
  return new Promise((resolve) => {
    wavWanted = resolve;
    worker.postMessage({ type: "save" });
  });
}

$("start").onclick = () => (stream ? stop() : listen());
$("pause").onclick = () => {
  paused = !paused;
  worker.postMessage({ type: "pause", paused });
  $("pause").textContent = paused ? "Go on" : "Pause";
};
$("save").onclick = async () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await askForWav());
  link.download = `cheep-${new Date().toISOString().replace(/[:.]/g, "-")}.wav`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
$("file").onchange = async (event) => {
  const file = event.target.files[0];
  if (!file || !model) return;
  if (stream) stop();
  say("");
  try {
    const context = new OfflineAudioContext(1, 1, 48000);
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    const samples = buffer.getChannelData(0).slice();
    seen.state = "reading";
    $("save").disabled = false;
    worker.postMessage({ type: "recording", rateHz: buffer.sampleRate, samples }, [samples.buffer]);
  } catch {
    fail(`${file.name}: the browser cannot decode this file. Convert it to WAV.`);
  }
};

worker.postMessage({ type: "boot" });
