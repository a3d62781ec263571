// SPDX-License-Identifier: MIT
// The spectrogram of a clip: time to the right, frequency up, the model's band dashed, the context shaded, boxes.

const STOPS = [[22, 18, 15], [60, 26, 75], [135, 45, 95], [214, 86, 68], [248, 160, 70], [252, 245, 190]];
const LEFT = 44, BOTTOM = 20;  // px for the axes

const PALETTE = Uint32Array.from({ length: 256 }, (_, level) => {
  const at = level / 255 * (STOPS.length - 1), low = Math.min(Math.floor(at), STOPS.length - 2);
  const [r, g, b] = [0, 1, 2].map((i) => Math.round(STOPS[low][i] + (at - low) * (STOPS[low + 1][i] - STOPS[low][i])));
  return (255 << 24) | (b << 16) | (g << 8) | r;
});

// Return the levels (rows * columns bytes, lowest frequency first) as a picture that can be scaled.
export function render({ rows, columns, levels }) {
  const image = new ImageData(columns, rows);
  const cells = new Uint32Array(image.data.buffer);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) cells[(rows - 1 - y) * columns + x] = PALETTE[levels[y * columns + x]];
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// Where things lie on a canvas: functions between seconds, Hz and px.
export function scales(canvas, sound) {
  const width = canvas.clientWidth - LEFT, height = canvas.clientHeight - BOTTOM;
  const length = sound.end_s - sound.begin_s;
  return {
    width, height,
    x: (s) => LEFT + (s - sound.begin_s) / length * width,
    y: (hz) => height * (1 - Math.min(hz, sound.top_hz) / sound.top_hz),
    s: (x) => sound.begin_s + Math.min(1, Math.max(0, (x - LEFT) / width)) * length,
    hz: (y) => Math.min(1, Math.max(0, 1 - y / height)) * sound.top_hz,
  };
}

export function draw(canvas, { sound, clip, band, boxes, active, cursor }) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(w * ratio)) canvas.width = Math.round(w * ratio);
  if (canvas.height !== Math.round(h * ratio)) canvas.height = Math.round(h * ratio);
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(canvas);
  g.fillStyle = style.getPropertyValue("--paper");
  g.fillRect(0, 0, w, h);
  if (!sound) return;
  const at = scales(canvas, sound);
  g.drawImage(sound.image, LEFT, 0, at.width, at.height);
  g.fillStyle = "rgba(251, 252, 251, .28)";  // the context, which is not judged
  g.fillRect(LEFT, 0, at.x(clip.start_s) - LEFT, at.height);
  g.fillRect(at.x(clip.end_s), 0, LEFT + at.width - at.x(clip.end_s), at.height);
  axes(g, at, sound, clip, style.getPropertyValue("--soft"));
  g.setLineDash([5, 4]);
  g.strokeStyle = "#8fd0ff";
  for (const hz of band) if (hz > 0 && hz < sound.top_hz) line(g, LEFT, at.y(hz), LEFT + at.width, at.y(hz));
  g.setLineDash([]);
  for (const box of boxes) outline(g, at, box, "#7dffb0");
  if (active) outline(g, at, active, "#ffffff");
  if (cursor !== null) {
    g.strokeStyle = "#ffffff";
    line(g, at.x(cursor), 0, at.x(cursor), at.height);
  }
}

function axes(g, at, sound, clip, color) {
  g.fillStyle = color;
  g.font = "12px system-ui, sans-serif";
  g.textBaseline = "middle";
  g.textAlign = "right";
  const step = [500, 1000, 2000, 4000].find((hz) => sound.top_hz / hz <= 7) ?? 4000;
  for (let hz = 0; hz <= sound.top_hz; hz += step)
    g.fillText(hz ? `${hz / 1000} kHz` : "0", LEFT - 5, Math.min(at.height - 6, Math.max(7, at.y(hz))));
  g.textBaseline = "alphabetic";
  g.textAlign = "center";
  const length = sound.end_s - sound.begin_s;
  const every = [0.5, 1, 2, 5, 10, 30].find((s) => length / s <= Math.max(4, at.width / 70)) ?? 60;
  const first = Math.ceil((sound.begin_s - clip.start_s) / every) * every;  // from the clip's start
  for (let s = first; clip.start_s + s <= sound.end_s; s += every) {
    const x = at.x(clip.start_s + s);
    if (x < LEFT + at.width - 16) g.fillText(`${+s.toFixed(1)} s`, x, at.height + 15);
  }
}

function outline(g, at, box, color) {
  g.strokeStyle = color;
  g.lineWidth = 2;
  const [top, bottom] = [at.y(box.high_hz ?? Infinity), at.y(box.low_hz ?? 0)];
  g.strokeRect(at.x(box.start_s), top, at.x(box.end_s) - at.x(box.start_s), bottom - top);
  g.lineWidth = 1;
}

function line(g, x0, y0, x1, y1) {
  g.beginPath();
  g.moveTo(x0, y0);
  g.lineTo(x1, y1);
  g.stroke();
}
