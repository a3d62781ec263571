/* SPDX-License-Identifier: MIT */
// Streaming resampler: windowed sinc (Kaiser, 64 zero crossings over both sides), exact rational steps.
// Stop band below -90 dB from the lower of the two Nyquist frequencies; pass band to 0.9 of it.

const ZEROS = 32; // zero crossings on each side
const BETA = 9.0; // Kaiser window
const ROLL_OFF = 0.94;

function bessel0(x) {
  let sum = 1, term = 1;
  for (let k = 1; k < 40; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

export class Resampler {
  constructor(fromHz, toHz) {
    const common = gcd(fromHz, toHz);
    this.up = toHz / common; // output samples per `down` input samples
    this.down = fromHz / common;
    const cut = Math.min(1, toHz / fromHz) * ROLL_OFF;
    this.half = Math.ceil(ZEROS / cut);
    this.taps = 2 * this.half;
    this.phases = Array.from({ length: this.up }, (_, phase) => this.#phase(phase / this.up, cut));
    this.buffer = new Float64Array(0);
    this.phase = 0; // of the next output, in 1 / up of an input sample
    this.pending = new Float64Array(this.half); // the recording begins after silence
  }

  #phase(fraction, cut) {
    const taps = new Float64Array(this.taps);
    let sum = 0;
    for (let i = 0; i < this.taps; i++) {
      const t = i - this.half + 1 - fraction; // distance of input i from the output, in input samples
      const x = Math.PI * t * cut;
      const r = t / this.half;
      const window = Math.abs(r) < 1 ? bessel0(BETA * Math.sqrt(1 - r * r)) / bessel0(BETA) : 0;
      taps[i] = (x === 0 ? 1 : Math.sin(x) / x) * window;
      sum += taps[i];
    }
    return taps.map((value) => value / sum);
  }

  push(samples) {
    if (this.up === this.down) return samples;
    const data = new Float64Array(this.pending.length + samples.length);
    data.set(this.pending);
    data.set(samples, this.pending.length);
    const out = [];
    let first = 0;
    while (first + this.taps <= data.length) {
      const taps = this.phases[this.phase];
      let sum = 0;
      for (let i = 0; i < this.taps; i++) sum += taps[i] * data[first + i];
      out.push(sum);
      this.phase += this.down;
      first += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.pending = data.slice(Math.min(first, data.length));
    return Float32Array.from(out);
  }
}

// The int16 rule of the project: clip(round half to even(x * 32768)).
export function toInt16(samples) {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] * 32768;
    const low = Math.floor(value);
    const rest = value - low;
    const rounded = rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
    out[i] = Math.max(-32768, Math.min(32767, rounded));
  }
  return out;
}
