// The timeline on its canvas: segments in the colours of the labels, and how probable each label is at every frame.
import { css, textOn } from './palette.js';

const SEGMENTS = { top: 0, height: 52 };
const RIBBON = { top: 60, height: 84 };
const AXIS = 164;
const KEPT = 20000;
const GAP = 2;
const MOST = 12;
const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300];

export class Timeline {
  #canvas;
  #pen;
  #colour = {};
  #breaks = false;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext('2d');
    this.span = 30;
    this.edge = 0;
    this.begin(null);
    new ResizeObserver(() => this.draw(this.edge)).observe(canvas);
    document.addEventListener('theme', () => { this.#colour = {}; this.draw(this.edge); });
  }

  /** Empties it. */
  begin(labels) {
    this.labels = labels;
    this.frames = [];
    this.closed = [];
    this.open = null;
    this.edge = 0;
    this.draw(0);
  }

  /** Takes what the server said of a frame. */
  add({ time, probabilities, open, closed }) {
    this.frames.push({ time, probabilities, first: this.#breaks || this.frames.length === 0 });
    this.#breaks = false;
    if (this.frames.length > KEPT) this.frames.splice(0, KEPT / 10);
    this.closed.push(...closed);
    if (this.closed.length > KEPT) this.closed.splice(0, KEPT / 10);
    this.open = open && { ...open, end: time };
  }

  /** A new sequence begins: the open segment is left as it is. */
  cut() {
    if (this.open) this.closed.push({ ...this.open, pale: true });
    this.open = null;
    this.#breaks = true;
  }

  /** Draws what was seen up to the time `edge`, seconds. */
  draw(edge) {
    this.edge = edge;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    const sharp = devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * sharp) || this.#canvas.height !== Math.round(height * sharp)) {
      this.#canvas.width = Math.round(width * sharp);
      this.#canvas.height = Math.round(height * sharp);
    }
    this.#pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    this.#pen.clearRect(0, 0, width, height);
    const begun = Math.min(this.frames[0]?.time ?? 0, this.closed[0]?.start ?? Infinity);
    const left = Math.max(begun, edge - this.span);
    const at = (time) => ((time - left) / this.span) * width;
    this.#read();
    this.#ground(width);
    if (this.labels) {
      this.#ribbon(at, left, width);
      this.#segments(at, width);
    }
    this.#axis(at, left, width);
    if (this.frames.length) this.#head(Math.min(at(edge), width - 1));
  }

  #read() {
    if (this.#colour.quiet) return;
    const style = getComputedStyle(this.#canvas);
    // A canvas knows no light-dark(): an element's own colour is already the one of the theme.
    for (const name of ['quiet', 'track', 'line', 'head']) {
      this.#canvas.style.color = `var(--${name})`;
      this.#colour[name] = style.color;
    }
    this.#canvas.style.color = '';
    this.#colour.font = style.fontFamily;
  }

  #ground(width) {
    this.#pen.fillStyle = this.#colour.track;
    for (const { top, height } of [SEGMENTS, RIBBON]) {
      this.#pen.beginPath();
      this.#pen.roundRect(0, top, width, height, 6);
      this.#pen.fill();
    }
  }

  #segments(at, width) {
    const all = this.open ? [...this.closed, { ...this.open, pale: true }] : this.closed;
    for (const { start, end, label, pale } of all) {
      const from = Math.max(at(start), 0);
      const to = Math.min(at(end), width);
      if (to <= 0 || from >= width) continue;
      const colour = this.labels.colour(label);
      this.#pen.globalAlpha = pale ? 0.6 : 1;
      this.#pen.fillStyle = css(colour);
      this.#pen.beginPath();
      this.#pen.roundRect(from, SEGMENTS.top, Math.max(to - from - 1.5, 1), SEGMENTS.height, 5);
      this.#pen.fill();
      this.#pen.globalAlpha = 1;
      if (!pale) this.#name(label, textOn(colour), from + 8, to - from - 16);
    }
  }

  #name(label, colour, x, room) {
    this.#pen.font = `600 12.5px ${this.#colour.font}`;
    if (this.#pen.measureText(label).width > room) return;
    this.#pen.fillStyle = colour;
    this.#pen.textBaseline = 'middle';
    this.#pen.textAlign = 'left';
    this.#pen.fillText(label, x, SEGMENTS.top + SEGMENTS.height / 2);
  }

  // One frame a pixel at most.
  #visible(at, left, width) {
    const seen = [];
    let last = -Infinity;
    let waiting = false;
    for (const frame of this.frames) {
      const x = at(frame.time);
      waiting ||= frame.first;
      if (frame.time < left - GAP || x - last < 1) continue;
      if (x > width + 1) break;
      seen.push({ x, shares: frame.probabilities, first: waiting || frame.time - (seen.at(-1)?.time ?? -Infinity) > GAP, time: frame.time });
      last = x;
      waiting = false;
    }
    return seen;
  }

  #ribbon(at, left, width) {
    const seen = this.#visible(at, left, width);
    if (seen.length < 2) return;
    const sums = this.labels.names.map((_, k) => seen.reduce((sum, { shares }) => sum + (shares[k] ?? 0), 0));
    const told = [...sums.keys()].sort((a, b) => sums[b] - sums[a]).slice(0, MOST).sort((a, b) => a - b);
    const { top, height } = RIBBON;
    const pen = this.#pen;
    pen.save();
    pen.beginPath();
    pen.roundRect(0, top, width, height, 6);
    pen.clip();
    let floor = new Float64Array(seen.length);
    for (const k of told) {
      const roof = floor.map((share, n) => share + (seen[n].shares[k] ?? 0));
      pen.fillStyle = css(this.labels.rgb[k]);
      pen.beginPath();
      for (let begin = 0; begin < seen.length;) {
        let end = begin + 1;
        while (end < seen.length && !seen[end].first) end += 1;
        for (let n = begin; n < end; n += 1) pen.lineTo(seen[n].x, top + height * (1 - roof[n]));
        for (let n = end - 1; n >= begin; n -= 1) pen.lineTo(seen[n].x, top + height * (1 - floor[n]));
        pen.closePath();
        begin = end;
        if (begin < seen.length) pen.moveTo(seen[begin].x, top + height * (1 - roof[begin]));
      }
      pen.fill();
      floor = roof;
    }
    pen.restore();
  }

  #axis(at, left, width) {
    const step = STEPS.find((one) => (one / this.span) * width >= 56) ?? 600;
    this.#pen.font = `12px ${this.#colour.font}`;
    this.#pen.textBaseline = 'alphabetic';
    for (let time = Math.ceil(left / step) * step; at(time) <= width; time += step) {
      const x = at(time);
      this.#pen.fillStyle = this.#colour.line;
      this.#pen.fillRect(x, RIBBON.top + RIBBON.height, 1, 6);
      const word = `${Math.floor(time / 60)}:${String(time % 60).padStart(2, '0')}`;
      const half = this.#pen.measureText(word).width / 2;
      this.#pen.fillStyle = this.#colour.quiet;
      this.#pen.textAlign = x < half ? 'left' : 'center';
      if (x + half <= width) this.#pen.fillText(word, Math.max(x, 0), AXIS);
    }
  }

  #head(x) {
    this.#pen.fillStyle = this.#colour.head;
    this.#pen.fillRect(x - 1, 0, 2, RIBBON.top + RIBBON.height);
  }
}
