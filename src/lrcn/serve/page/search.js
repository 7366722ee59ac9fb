// Photos of the served folder, found by words or by a photo.
import { ask, Latest, tooLarge } from './server.js';
import { byId, shown } from './markup.js';
import { choose, drop } from './files.js';
import { Grid } from './grid.js';

const PAGE = 24;

/** Sets the view up. */
export const search = (about) => {
  const grid = new Grid(byId('search-grid'));
  const latest = new Latest();
  const say = (sentence) => { byId('search-status').textContent = sentence; };
  const fail = (sentence) => { byId('search-error').textContent = sentence; };
  let asked = null;

  const run = async (n, focused) => {
    shown(false, byId('search-tries'));
    fail('');
    say('Searching…');
    try {
      const fields = asked.file && { file: asked.file };
      const words = asked.words ? `words=${encodeURIComponent(asked.words)}&` : '';
      const found = await latest.run((signal) => ask(`/api/search?${words}n=${n}`, { fields, signal }));
      if (!found) return;
      grid.show(found.results);
      const count = found.results.length;
      say(`${count} of ${found.photos.toLocaleString('en')} photos for ${asked.name}, the nearest first. 1.00 would be the same.`);
      const unknown = found.unknown ?? [];
      if (unknown.length) fail(`Not known to the model, and left out: ${unknown.join(', ')}.`);
      shown(count >= n && count < found.photos, byId('search-more'));
      if (focused) grid.focus(focused);
    } catch (error) {
      say('');
      fail(error.message);
    }
  };
  const byWords = (words) => {
    if (!words) return;
    asked = { words, name: `“${words}”` };
    run(PAGE);
  };
  const byPhoto = (file) => {
    fail(tooLarge(file, about.limits));
    if (byId('search-error').textContent) return;
    asked = { file, name: file.name };
    run(PAGE);
  };

  byId('search-lead').textContent = `Words find one of the ${about.models.search.photos.toLocaleString('en')} photos of the served folder; so does another photo.`;
  byId('search-form').addEventListener('submit', (event) => {
    event.preventDefault();
    byWords(byId('search-words').value.trim());
  });
  byId('search-tries').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    byId('search-words').value = button.textContent;
    byId('search-words').focus();
    byWords(button.textContent);
  });
  byId('search-more').addEventListener('click', () => run(grid.count + PAGE, grid.count));
  choose(byId('search-file'), 'image', byPhoto);
  drop(byId('search').querySelector('.drop'), 'image', byPhoto, fail);
};
