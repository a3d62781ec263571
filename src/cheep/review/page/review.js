// SPDX-License-Identifier: MIT
// The review page: asks the server for clips, plays and shows them, sends each verdict and goes on when it is on the disk.

import { draw, render, scales } from "./draw.js";

const AHEAD = 3;  // clips loaded before they are asked for
const KEPT = 24;
const LIKE = "like this one";
const $ = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const form = $("filter");
const cache = new Map();  // clip -> promise of { clip, sound }
const state = {
  about: null, clips: [], asks: {}, at: 0, shown: null, boxes: [], active: null, auto: true, busy: false, epoch: 0,
  rows: new Map(),
};
window.cheepReview = state;  // for tests, and for the curious

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { "X-Cheep-Token": token, ...options.headers } });
  } catch {
    throw new Error("the server has ended; start cheep review again: what was answered is kept");
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Error(body.error || `${response.status} ${response.statusText}`);
  }
  return response;
}
const json = async (path, options) => (await ask(path, options)).json();
const send = (path, body) => json(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});

function say(text) {
  $("message").hidden = !text;
  $("message").textContent = text || "";
}

// Run an action; what goes wrong is said, and nothing else happens.
async function doing(action) {
  try {
    await action();
  } catch (error) {
    say(error.message);
  }
}

const source = () => form.source.value;
const query = (more = {}) => new URLSearchParams({ source: source(), ...more });
const number = () => state.clips[state.at];

// -- clips ---------------------------------------------------------------------------------

async function load(id) {
  const asked = state.asks[id] ?? 0;
  const clip = await json(`api/clips/${id}?ask=${asked}`);
  try {
    const data = new Uint8Array(await (await ask(`api/clips/${id}/sound`)).arrayBuffer());
    const end = data.indexOf(10);
    const about = JSON.parse(new TextDecoder().decode(data.subarray(0, end)));
    const cells = about.rows * about.columns;
    const levels = data.subarray(end + 1, end + 1 + cells);
    const url = URL.createObjectURL(new Blob([data.subarray(end + 1 + cells)], { type: "audio/wav" }));
    return { clip, ask: asked, sound: { ...about, image: render({ ...about, levels }), url } };
  } catch (error) {
    return { clip, ask: asked, sound: null, error: error.message };
  }
}

function wanted(id) {
  if (!cache.has(id)) {
    const promise = load(id);
    promise.catch(() => cache.delete(id));
    cache.set(id, promise);
    for (const [old, entry] of cache) {
      if (cache.size <= KEPT || old === id || old === number()) break;
      cache.delete(old);
      entry.then((item) => item.sound && URL.revokeObjectURL(item.sound.url), () => {});
    }
  }
  return cache.get(id);
}

function forget(id) {
  cache.get(id)?.then((item) => item.sound && item !== state.shown && URL.revokeObjectURL(item.sound.url), () => {});
  cache.delete(id);
}

async function list({ keep = null } = {}) {
  const values = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  if (values.order === LIKE) values.like = state.like ?? number() ?? -1;
  const found = await json(`api/questions?${new URLSearchParams(values)}`);
  state.clips = found.clips;
  state.asks = found.asks;
  state.at = Math.max(0, keep === null ? 0 : state.clips.indexOf(keep));
  await show();
}

async function show() {
  const epoch = ++state.epoch;  // a later call wins
  state.boxes = [];
  state.active = null;
  paintList();
  if (number() === undefined) {
    state.shown = null;
    blank();
    return;
  }
  const item = await wanted(number());
  if (epoch !== state.epoch) return;
  state.shown = item;
  paint(item);
  afterPaint(() => {
    if (epoch !== state.epoch) return;
    for (let i = 1; i <= AHEAD; i++) {
      const next = state.clips[state.at + i];
      if (next !== undefined) wanted(next).catch(() => {});
    }
  });
}

// What can wait waits until the clip is on the screen.
function afterPaint(work) {
  requestAnimationFrame(() => setTimeout(work));
}

function blank() {
  $("label").textContent = "nothing to hear";
  for (const id of ["score", "where", "opinions", "verdicts"]) $(id).textContent = "";
  $("where").textContent = state.about.detections || state.about.plans.length
    ? "No clip is left of these. Choose others on the right, or go on with cheep season estimate."
    : "The season has no detections. Lower the threshold: cheep season detect.";
  $("sound").removeAttribute("src");
  $("asked").hidden = true;
  picture();
}

function paint({ clip, sound, error, ask: asked }) {
  say(error);
  $("label").textContent = clip.label;
  $("score").textContent = percent(clip.score);
  const length = (clip.end_s - clip.start_s).toFixed(1);
  const gain = sound && sound.gain_db >= 1 ? `, played ${sound.gain_db} dB louder` : "";
  $("where").textContent = `${clip.site} · ${clip.local || "time not known"} · ${clip.file}, ${clock(clip.start_s)}, ` +
    `${length} s${gain}`;
  $("asked").hidden = !asked;
  $("opinions").textContent = clip.opinions.map((item) => `${item.label} ${percent(item.score)}` +
    (item.model === state.about.model.id ? "" : ` (${item.model.slice(0, 6)})`)).join(", ") || "none";
  $("verdicts").textContent = clip.verdicts.map((item) => `${item.reviewer}: ${item.other || item.answer}`)
    .join(", ") || "none";
  const player = $("sound");
  if (sound) {
    player.src = sound.url;
    if (state.auto && navigator.userActivation?.hasBeenActive) player.play().catch(() => {});
  } else {
    player.removeAttribute("src");
  }
  picture();
}

function picture() {
  const { shown, boxes, active } = state;
  const player = $("sound");
  const sound = shown?.sound;
  const cursor = sound && (!player.paused || player.currentTime > 0) ? sound.begin_s + player.currentTime : null;
  draw($("picture"), { sound, clip: shown?.clip, band: state.about?.band_hz ?? [], boxes, active, cursor });
  $("boxes").hidden = !boxes.length && !active;
  $("boxes").textContent = active
    ? `box ${clock(active.start_s)} to ${clock(active.end_s)}, ${Math.round(active.low_hz)} to ` +
      `${Math.round(active.high_hz)} Hz: Enter keeps it, Esc drops it`
    : `${boxes.length} box(es), kept with the next verdict`;
}

function paintList() {
  const first = Math.max(0, Math.min(state.at - 3, state.clips.length - 12));
  const rows = state.clips.slice(first, first + 12);
  $("count").textContent = state.clips.length
    ? `clip ${state.at + 1} of ${state.clips.length}` : "no clips";
  $("list").replaceChildren(...rows.map((id, i) => {
    const row = document.createElement("li");
    row.className = first + i === state.at ? "now" : "";
    const [name, score] = [document.createElement("span"), document.createElement("span")];
    name.textContent = `${first + i + 1}`;
    row.append(name, score);
    row.onclick = () => doing(() => go(first + i));
    const known = state.rows.get(id);
    if (known) {
      name.textContent = `${first + i + 1}  ${known.label} · ${known.site} ${known.local.slice(5, 16)}`;
      score.textContent = percent(known.score);
    }
    return row;
  }));
  const unknown = rows.filter((id) => !state.rows.has(id));
  if (unknown.length) doing(async () => {
    const found = await json(`api/rows?clips=${unknown}`);
    unknown.forEach((id, i) => state.rows.set(id, found.rows[i]));
    paintList();
  });
}

async function go(place) {
  if (place < 0 || place >= state.clips.length) return;
  state.at = place;
  await show();
}

// -- answers -------------------------------------------------------------------------------

async function answer(values) {
  if (state.busy || !state.shown) return;
  state.busy = true;
  try {
    const id = number(), { ask: asked } = state.shown;
    await send(`api/clips/${id}/verdict?${query()}`, { ...values, boxes: state.boxes, ask: asked });
    say("");
    forget(id);
    state.clips = form.state.value === "open" ? state.clips.filter((_, i) => i !== state.at) : state.clips;
    if (form.state.value !== "open") state.at += 1;
    if (state.at >= state.clips.length) await list({ keep: null });  // a plan may ask for more
    else await show();
    afterPaint(() => status().catch(() => {}));
  } finally {
    state.busy = false;
  }
}

async function undo() {
  const { number: id } = await send("api/undo", {});
  if (id === null) {
    say("no verdict of this sitting to take back");
    return;
  }
  say("");
  forget(id);
  await list({ keep: id });
  await status();
}

async function status() {
  const found = await json(`api/status?${query()}`);
  $("bar").max = Math.max(1, found.of);
  $("bar").value = found.done;
  $("progress").textContent = `${found.done} of ${found.of}`;
  const who = Object.entries(found.reviewers).map(([name, count]) => `${name} ${count}`).join(", ");
  const pairs = found.agreement.map((pair) => `${pair.who}: ${pair.clips} clips both, ` +
    (pair.agreement === null ? "none to compare" : `${percent(pair.agreement)} alike`) +
    (pair.kappa === null ? "" : `, kappa ${pair.kappa.toFixed(2)}`)).join("; ");
  $("people").textContent = [who && `verdicts: ${who}`, pairs, ...found.problems].filter(Boolean).join(" · ");
}

// Sort by likeness to the clip that is shown.
async function alike() {
  if (!state.about.orders.includes(LIKE)) throw new Error("no embeddings: start cheep review with --embed 2000");
  state.like = number();
  form.order.value = LIKE;
  await list({ keep: state.like });
}

function another() {
  const dialog = $("other"), input = dialog.querySelector("input");
  input.value = "";
  dialog.showModal();
  dialog.onclose = () => {
    const label = input.value.trim();
    if (dialog.returnValue !== "ok" || !label) return;
    if (![...$("labels").children].some((option) => option.value === label)) $("labels").append(new Option(label));
    doing(() => answer(label === state.shown?.clip.label ? { answer: "right" } : { answer: "other", other: label }));
  };
}

// -- boxes ---------------------------------------------------------------------------------

function startBox() {
  const { shown, about } = state;
  if (!shown?.sound) return;
  const [low, high] = about.band_hz;
  state.active = {
    start_s: shown.clip.start_s, end_s: shown.clip.end_s, low_hz: low, high_hz: Math.min(high, shown.sound.top_hz),
  };
  picture();
}

function moveBox(key, corner) {
  const box = state.active, { sound } = state.shown;
  const [dx, dy] = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 100], ArrowDown: [0, -100] }[key];
  const inside = (value, low, high) => Math.min(high, Math.max(low, value));
  box.end_s = inside(box.end_s + dx, sound.begin_s + 0.05, sound.end_s);
  box.high_hz = inside(box.high_hz + dy, 50, sound.top_hz);
  if (!corner) {
    box.start_s = inside(box.start_s + dx, sound.begin_s, sound.end_s);
    box.low_hz = inside(box.low_hz + dy, 0, sound.top_hz);
  }
  box.start_s = Math.min(box.start_s, box.end_s - 0.05);
  box.low_hz = Math.min(box.low_hz, box.high_hz - 50);
  picture();
}

function keepBox() {
  const tidy = (value) => Math.round(value * 1000) / 1000;
  const box = Object.fromEntries(Object.entries(state.active).map(([name, value]) => [name, tidy(value)]));
  state.boxes.push({ ...box, label: state.shown.clip.label });
  state.active = null;
  picture();
}

function drawBox(canvas) {
  let from = null;
  const place = (event) => {
    const at = scales(canvas, state.shown.sound), frame = canvas.getBoundingClientRect();
    return [at.s(event.clientX - frame.left), at.hz(event.clientY - frame.top)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!state.shown?.sound) return;
    canvas.setPointerCapture(event.pointerId);
    from = place(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = place(event), [s, hz] = [0, 1].map((i) => [from[i], to[i]].sort((a, b) => a - b));
    state.active = { start_s: s[0], end_s: s[1], low_hz: hz[0], high_hz: hz[1] };
    picture();
  });
  canvas.addEventListener("pointerup", () => {
    from = null;
    const box = state.active;
    if (box && box.end_s - box.start_s >= 0.05 && box.high_hz - box.low_hz >= 50) keepBox();
    else if (box) { state.active = null; picture(); }
  });
}

// -- keys ----------------------------------------------------------------------------------

const ACTIONS = {
  1: () => answer({ answer: "right" }), 2: () => answer({ answer: "wrong" }), 3: () => answer({ answer: "unsure" }),
  4: another, o: another, z: undo, b: startBox,
  ArrowLeft: () => go(state.at - 1), ArrowRight: () => go(state.at + 1),
  " ": () => { const player = $("sound"); return player.paused ? player.play() : player.pause(); },
  a: () => { state.auto = !state.auto; $("auto").textContent = state.auto ? "on" : "off"; },
  f: () => form.source.focus(),
  l: alike,
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("other").open) return;
  if (event.target.closest("form")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (state.active && (event.key.startsWith("Arrow") || ["Enter", "Escape"].includes(event.key))) {
    event.preventDefault();
    if (event.key === "Enter") keepBox();
    else if (event.key === "Escape") { state.active = null; picture(); }
    else moveBox(event.key, event.shiftKey);
    return;
  }
  const action = ACTIONS[event.key];
  if (!action || event.repeat) return;
  event.preventDefault();
  doing(async () => action());
}

const percent = (value) => value >= 0.995 && value < 1 ? `${(100 * value).toFixed(2)} %` : `${(100 * value).toFixed(0)} %`;
const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

// -- start ---------------------------------------------------------------------------------

function fill(select, options) {
  for (const [value, text] of options) select.append(new Option(text, value));
}

doing(async () => {
  const about = state.about = await json("api/about");
  $("about").textContent = `${about.season} · ${about.model.file} · ${about.reviewer}`;
  fill(form.source, [
    ...about.plans.map((plan) => [`plan:${plan.name}`, `plan ${plan.name} (${plan.clips})`]),
    ...Object.entries(about.ranks).map(([name, n]) => [name, `ranked: ${name.slice(5)} (${n})`]),
    ["detections", `detections (${about.detections})`],
  ]);
  if (about.plan) form.source.value = `plan:${about.plan}`;
  fill(form.order, about.orders.map((name) => [name, name]));
  if (!about.plans.length) form.order.value = "score";
  fill(form.label, about.labels.map((name) => [name, name]));
  fill(form.site, about.sites.map((name) => [name, name]));
  $("labels").append(...about.labels.map((name) => new Option(name)));
  form.addEventListener("change", (event) => doing(async () => {
    if (event.target.name === "order") state.like = number();
    if (event.target.name === "source") form.order.value = source() === "detections" ? "score" : "plan";
    cache.clear();
    say("");
    await list();
    await status();
  }));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", key);
  for (const button of document.querySelectorAll("button[data-answer], button[data-do]"))
    button.onclick = () => {
      button.blur();  // so that Space plays
      const { answer: said, do: what } = button.dataset;
      const deeds = { other: another, box: startBox, undo, back: ACTIONS.ArrowLeft, next: ACTIONS.ArrowRight };
      doing(async () => (said ? answer({ answer: said }) : deeds[what]()));
    };
  drawBox($("picture"));
  new ResizeObserver(picture).observe($("picture"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", picture);
  const player = $("sound");
  let frame = 0;  // one loop for all clips: the next one plays on without a pause in between
  const tick = () => { picture(); frame = player.paused ? 0 : requestAnimationFrame(tick); };
  player.addEventListener("play", () => { frame ||= requestAnimationFrame(tick); });
  player.addEventListener("seeked", picture);
  setInterval(() => status().catch(() => {}), 15000);
  await list();
  await status();
  state.ready = true;
});
