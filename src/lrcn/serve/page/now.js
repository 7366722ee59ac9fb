// What is happening now: the label, how sure that is, the most probable labels, and how fast it goes.
import { css } from './palette.js';
import { byId, element, percent, rail } from './markup.js';

const MOST = 9;
const SHOWN_TOP = 6;
const WINDOW = 2000;
const CALM = 500;

export class Now {
  #labels = null;
  #label = '';
  #rows = [];
  #came = [];
  #took = [];
  #told = 0;

  /** Empties the panel for these labels. */
  begin(labels) {
    this.#labels = labels;
    this.#label = '';
    this.#came = [];
    this.#took = [];
    byId('live-label').replaceChildren('…');
    for (const name of ['sure', 'rate', 'latency']) byId(`live-${name}`).textContent = '–';
    byId('live-dropped').textContent = '0';
    this.#rows = [];
    byId('live-meters').replaceChildren();
  }

  /** Shows an answer, which came `milliseconds` after its frame was sent. */
  show({ label, probability, probabilities, dropped }, milliseconds) {
    if (label !== this.#label) byId('live-label').replaceChildren(...this.#labels.word(label));
    this.#label = label;
    byId('live-sure').textContent = percent(probability);
    this.#meters(probabilities, label);
    this.#figures(milliseconds, dropped);
  }

  // Few labels stay in their places, which is calm; of many the most probable are shown.
  #meters(probabilities, label) {
    const all = probabilities.map((share, k) => ({ k, share }));
    const few = all.length <= MOST ? all : all.sort((a, b) => b.share - a.share).slice(0, SHOWN_TOP);
    while (this.#rows.length < few.length) this.#rows.push(this.#row());
    few.forEach(({ k, share }, n) => {
      const row = this.#rows[n];
      const name = this.#labels.names[k];
      if (row.k !== k) {
        row.name.replaceChildren(...this.#labels.word(name));
        row.fill.style.background = css(this.#labels.rgb[k]);
        row.k = k;
      }
      row.item.classList.toggle('told', name === label);
      row.fill.style.transform = `scaleX(${share})`;
      row.share.textContent = percent(share);
    });
  }

  #row() {
    const row = { name: element('span', 'name'), share: element('b'), bar: rail(0), k: -1 };
    row.fill = row.bar.firstChild;
    row.item = element('li', '', row.name, row.bar, row.share);
    byId('live-meters').append(row.item);
    return row;
  }

  #figures(milliseconds, dropped) {
    const now = performance.now();
    this.#came.push(now);
    this.#took.push(milliseconds);
    while (this.#came[0] < now - WINDOW) {
      this.#came.shift();
      this.#took.shift();
    }
    if (now - this.#told < CALM) return;
    this.#told = now;
    const spent = (now - this.#came[0]) / 1000;
    if (spent > 0) byId('live-rate').textContent = ((this.#came.length - 1) / spent).toFixed(1);
    const middle = [...this.#took].sort((a, b) => a - b)[this.#took.length >> 1];
    byId('live-latency').textContent = `${Math.round(middle)} ms`;
    byId('live-dropped').textContent = String(dropped);
  }
}
