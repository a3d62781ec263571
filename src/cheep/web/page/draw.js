/* SPDX-License-Identifier: MIT */
// Spectrogram, level and score bars.
const CORNERS = [[0, 0, 4], [60, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

const PALETTE = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (CORNERS.length - 1);
  const at = Math.min(CORNERS.length - 2, Math.floor(place));
  return CORNERS[at].map((value, c) => Math.round(value + (place - at) * (CORNERS[at + 1][c] - value)));
});

export class Spectrogram {
  constructor(canvas, nMels) {
    this.canvas = canvas;
    this.nMels = nMels;
    this.low = -128;
    this.high = -64;
    this.waiting = [];
    this.history = []; // what a change of size draws again
    this.drawn = 0;
    this.resize();
  }

  resize() {
    const width = Math.max(64, Math.floor(this.canvas.clientWidth / 2)); // one column is two pixels wide
    if (width === this.canvas.width && this.nMels === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = this.nMels;
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.#paint(this.history.slice(-width));
  }

  push(columns) {
    for (let first = 0; first < columns.length; first += this.nMels) {
      this.waiting.push(columns.subarray(first, first + this.nMels));
    }
  }

  draw() {
    for (const column of this.waiting) {
      const sorted = Array.from(column).sort((a, b) => a - b);
      this.low += 0.02 * (sorted[Math.floor(sorted.length * 0.2)] - this.low);
      this.high = Math.max(sorted[sorted.length - 1], this.high - 0.25, this.low + 30);
    }
    this.history.push(...this.waiting);
    if (this.history.length > 4096) this.history.splice(0, this.history.length - 2048);
    this.drawn += this.waiting.length;
    this.#paint(this.waiting.slice(-this.canvas.width));
    this.waiting = [];
  }

  #paint(columns) {
    const { width, height } = this.canvas;
    const n = columns.length;
    if (!n) return;
    this.context.drawImage(this.canvas, -n, 0);
    const image = this.context.createImageData(n, height);
    columns.forEach((column, x) => {
      for (let band = 0; band < height; band++) {
        const level = (column[band] - this.low) / (this.high - this.low);
        const [r, g, b] = PALETTE[Math.max(0, Math.min(255, Math.floor(level * 256)))];
        image.data.set([r, g, b, 255], 4 * ((height - 1 - band) * n + x));
      }
    });
    this.context.putImageData(image, width - n, 0);
  }
}

export function drawLevel(canvas, rms, peak) {
  const width = canvas.clientWidth;
  if (canvas.width !== width) canvas.width = width;
  const context = canvas.getContext("2d");
  const place = (value) => Math.max(0, Math.min(1, (decibels(value) + 90) / 90)) * width;
  context.clearRect(0, 0, width, canvas.height);
  context.fillStyle = peak >= 32767 ? "#b3261e" : "#1d7a4f";
  context.fillRect(0, 0, place(rms), canvas.height);
  context.fillStyle = "#1c2321";
  context.fillRect(Math.min(width - 2, place(peak)), 0, 2, canvas.height);
}

export function decibels(value) {
  return 20 * Math.log10(Math.max(value, 0.03) / 32768);
}

// A probability with two decimals, or as many as it takes (up to 6) not to read as 1.
export function probabilityText(value) {
  const digits = value > 0 && value < 1 ? Math.min(6, Math.max(2, -Math.floor(Math.log10(1 - value)))) : 2;
  return (value < 1 ? Math.min(value, 1 - 10 ** -digits) : value).toFixed(digits);
}

export class Scores {
  constructor(section, labels, thresholds) {
    this.thresholds = thresholds;
    this.rows = labels.map((label, i) => {
      const row = section.appendChild(document.createElement("div"));
      row.className = "score";
      const name = row.appendChild(document.createElement("b"));
      name.textContent = label;
      name.title = label;
      const bar = row.appendChild(document.createElement("div"));
      bar.className = "bar";
      const fill = bar.appendChild(document.createElement("i"));
      if (thresholds[i] !== null) {
        const mark = bar.appendChild(document.createElement("u"));
        mark.style.left = `${100 * thresholds[i]}%`;
        mark.title = `threshold ${probabilityText(thresholds[i])}`;
      }
      const value = row.appendChild(document.createElement("output"));
      value.textContent = "–";
      return { bar, fill, value };
    });
  }

  draw(values) {
    values.forEach((value, i) => {
      const { bar, fill, value: output } = this.rows[i];
      fill.style.width = `${100 * Math.max(0, Math.min(1, value))}%`;
      bar.classList.toggle("on", this.thresholds[i] !== null && value >= this.thresholds[i]);
      output.textContent = probabilityText(value);
    });
  }
}
