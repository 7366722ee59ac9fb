// A photo in words, and the photos of the served folder that are like it.
import { ask, Latest, server, tooLarge } from './server.js';
import { byId, element, shown } from './markup.js';
import { choose, drop, paste } from './files.js';
import { Grid } from './grid.js';

const ALIKE = 12;

class Photo {
  #about;
  #file = null;
  #address = '';
  #grid = new Grid(byId('photo-grid'));
  #captions = new Latest();
  #searches = new Latest();

  constructor(about) {
    this.#about = about;
    const take = (file) => this.show(file);
    choose(byId('photo-file'), 'image', take);
    drop(byId('photo-screen'), 'image', take, (sentence) => this.#fail(sentence));
    paste(() => !byId('photo').hidden, take);
    byId('photo-count').addEventListener('change', () => this.#file && this.#caption());
    byId('photo-shown').addEventListener('error', () => shown(false, byId('photo-shown')));
  }

  #fail(sentence) { byId('photo-error').textContent = sentence; }

  show(file) {
    this.#captions.stop();
    this.#searches.stop();
    byId('photo-sentence').textContent = '';
    byId('photo-sentence').classList.remove('busy');
    shown(false, byId('photo-more'), byId('photo-alike'));
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = URL.createObjectURL(file);
    byId('photo-shown').src = this.#address;
    shown(true, byId('photo-shown'));
    byId('photo-screen').classList.add('full');
    byId('photo-file').textContent = 'Choose another photo';
    byId('photo-status').textContent = '';
    this.#fail(tooLarge(file, this.#about.limits));
    this.#file = byId('photo-error').textContent ? null : file;
    if (!this.#file) return;
    if (this.#about.models.caption) this.#caption();
    if (this.#about.models.search) this.#alike();
  }

  async #caption() {
    const sentence = byId('photo-sentence');
    this.#fail('');
    byId('photo-status').textContent = 'Looking…';
    sentence.classList.add('busy');
    try {
      const fields = { file: this.#file, n: byId('photo-count').value };
      const told = await this.#captions.run((signal) => ask('/api/caption', { fields, signal }));
      if (!told) return;
      sentence.classList.remove('quiet');
      sentence.textContent = told.caption;
      this.#others(told);
    } catch (error) {
      this.#fail(error.message);
    }
    sentence.classList.remove('busy');
    byId('photo-status').textContent = '';
  }

  #others({ others = [] }) {
    byId('photo-others').replaceChildren(...others.map(({ caption }) => element('li', '', caption)));
    shown(others.length > 0, byId('photo-more'));
  }

  async #alike() {
    shown(true, byId('photo-alike'));
    this.#grid.show([]);
    byId('photo-alike-error').textContent = '';
    byId('photo-alike-status').textContent = 'Searching…';
    try {
      const fields = { file: this.#file };
      const found = await this.#searches.run((signal) => ask(`/api/search?n=${ALIKE}`, { fields, signal }));
      if (!found) return;
      this.#grid.show(found.results);
      byId('photo-alike-status').textContent = `The nearest ${found.results.length} of ${found.photos.toLocaleString('en')} photos. 1.00 would be the same.`;
    } catch (error) {
      byId('photo-alike-status').textContent = '';
      byId('photo-alike-error').textContent = error.message;
    }
  }
}

/** Sets the view up; `show` brings it to the front. */
export const photo = (about, show) => {
  const { caption, search } = about.models;
  byId('photo-lead').textContent = caption && search ? 'What it shows, in a sentence, and the photos of the served folder that are like it.'
    : caption ? 'What it shows, in a sentence.' : 'The photos of the served folder that are like it.';
  shown(caption !== null, byId('photo-caption'));
  if (!caption) byId('photo-title').textContent = 'Photos like this one';
  const one = new Photo(about);
  server.addEventListener('photo', ({ detail }) => {
    show('photo');
    one.show(detail);
  });
};
