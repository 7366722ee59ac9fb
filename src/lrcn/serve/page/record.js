// What was seen so far: the timeline, and the list of segments that says the same in words.
import { byId, clock, element, percent, shown } from './markup.js';
import { csv, save, stem } from './download.js';
import { Timeline } from './timeline.js';

const LISTED = 500;
const HEADER = ['path', 'start', 'end', 'label', 'score'];

export class Record {
  #timeline = new Timeline(byId('live-timeline'));
  #list = byId('live-segments');
  #segments = [];
  #labels = null;
  #name = '';

  constructor() {
    byId('live-span').addEventListener('change', (event) => {
      this.#timeline.span = Number(event.target.value);
      this.#timeline.draw(this.#timeline.edge);
    });
    byId('live-save').addEventListener('click', () => {
      const rows = this.#segments.map((s) => [this.#name, s.start.toFixed(3), s.end.toFixed(3), s.label, s.score.toFixed(4)]);
      save(`${stem(this.#name)}-segments.csv`, 'text/csv', csv(HEADER, rows));
    });
  }

  get count() { return this.#segments.length; }

  /** Empties it; `name` is what is watched. */
  begin(labels, name) {
    this.#labels = labels;
    this.#name = name;
    this.#segments = [];
    this.#list.replaceChildren();
    this.#timeline.begin(labels);
    shown(true, byId('live-none'));
    byId('live-save').disabled = true;
  }

  add(answer) {
    this.#timeline.add(answer);
    for (const segment of answer.closed) this.#told(segment);
  }

  /** The last segments, of which some may be known. */
  finish(segments) {
    const known = new Set(this.#segments.map(({ start, label }) => `${start} ${label}`));
    const left = segments.filter(({ start, label }) => !known.has(`${start} ${label}`));
    this.#timeline.open = null;
    this.#timeline.closed.push(...left);
    for (const segment of left) this.#told(segment);
    this.draw(this.#timeline.edge);
  }

  cut() { this.#timeline.cut(); }

  draw(edge) { this.#timeline.draw(edge); }

  #told(segment) {
    this.#segments.push(segment);
    const { start, end, label, score } = segment;
    const name = element('span', 'name', ...this.#labels.word(label));
    const when = element('span', 'quiet', `${clock(start)} – ${clock(end)}`);
    this.#list.prepend(element('li', '', name, when, element('span', 'sure', percent(score))));
    if (this.#list.children.length > LISTED) this.#list.lastChild.remove();
    shown(false, byId('live-none'));
    byId('live-save').disabled = false;
  }
}
