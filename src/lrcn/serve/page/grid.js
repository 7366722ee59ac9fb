// Photos that were found, in rows: one stop of the Tab key, and the arrow keys from there.
import { element } from './markup.js';
import { view } from './viewer.js';

export class Grid {
  #list;
  #photos = [];

  constructor(list) {
    this.#list = list;
    list.addEventListener('keydown', (event) => this.#walk(event));
    list.addEventListener('focusin', (event) => this.#only(this.#buttons.indexOf(event.target.closest('button'))));
  }

  get #buttons() { return [...this.#list.querySelectorAll('button')]; }

  get count() { return this.#photos.length; }

  /** Shows photos, {name, score, thumbnail, photo} each, the best first. */
  show(photos) {
    this.#photos = photos;
    this.#list.replaceChildren(...photos.map((photo, place) => this.#item(photo, place)));
    this.#only(0);
  }

  focus(place) { this.#buttons[place]?.focus(); }

  #item({ name, score, thumbnail }, place) {
    const picture = element('img');
    Object.assign(picture, { src: thumbnail, alt: '', loading: 'lazy', width: 320, height: 240 });
    const about = element('span', 'about', element('span', 'name', name.split('/').at(-1)), element('span', 'quiet', score.toFixed(2)));
    const button = element('button', '', picture, about);
    button.type = 'button';
    button.title = name;
    button.addEventListener('click', () => view(this.#photos, place, (last) => this.focus(last)));
    return element('li', '', button);
  }

  #only(place) {
    this.#buttons.forEach((button, n) => { button.tabIndex = n === Math.max(place, 0) ? 0 : -1; });
  }

  #walk(event) {
    const all = this.#buttons;
    const now = all.indexOf(document.activeElement);
    if (now < 0) return;
    const columns = Math.max(all.filter((one) => one.offsetTop === all[0].offsetTop).length, 1);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, ArrowUp: now - columns, ArrowDown: now + columns, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    all[to]?.focus();
  }
}
